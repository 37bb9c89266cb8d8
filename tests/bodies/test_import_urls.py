"""Imports of files at URLs, body by body: a real server, a web server on loopback, and what can go wrong."""

import dataclasses
import gzip
import hashlib
import io
import pathlib
import signal
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.bodies import run_body, running_body
from helpers.claimed import claimed, run_here
from helpers.patterns import pattern
from helpers.sdk import tree_of
from helpers.servers import Server, running_server
from helpers.url_server import (
    Cut,
    File,
    Guarded,
    Stalled,
    Status,
    UrlServer,
    in_turn,
    redirect,
    silent,
    url_server,
)
from ingot.client import Client, NotFound
from ingot.server.bodies import import_urls
from ingot.server.core.body_protocol import BodySpec, Report, ReportedProblem
from ingot.server.core.params import ImportResult

MIB = 1024 * 1024
TARGET = "namespaces/member/datasets/humaneval"
DATA, MORE = pattern("data", 3 * MIB), pattern("more", 100_000)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_gz(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 1)


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


@dataclasses.dataclass(slots=True)
class Rig:
    """A server, a web server, and where bodies keep their files."""

    server: Server
    web: UrlServer
    folder: pathlib.Path
    settings: dict[str, Any]
    secrets: dict[str, str] = dataclasses.field(default_factory=dict)
    bodies: int = 0

    @property
    def client(self) -> Client:
        return Client(self.server.address, self.server.token("member"), user="ada")

    def spec(self, *files: dict[str, Any], target: str = TARGET, **told: Any) -> BodySpec:
        self.bodies += 1
        params = {"source": {"kind": "urls", "files": files}, "target": {"artifact": target}, **told}
        attempt = claimed(self.server, "import", params, target=target)
        folder = self.folder / str(self.bodies)
        return attempt.spec(folder, settings=self.settings, secrets=self.secrets)

    def run(self, *files: dict[str, Any], **told: Any) -> Report:
        return run_here(self.spec(*files, **told), import_urls.run)

    def result(self, *files: dict[str, Any], **told: Any) -> ImportResult:
        report = self.run(*files, **told)
        assert report.problem is None, report.problem
        return ImportResult.model_validate(report.result)

    def problem(self, *files: dict[str, Any], **told: Any) -> ReportedProblem:
        report = self.run(*files, **told)
        assert report.problem is not None, report
        return report.problem

    def pulled(self, version: str) -> dict[str, bytes]:
        folder = self.folder / "pulled" / version.replace("/", "_")
        with self.client as client:
            client.pull(version, folder)
        return tree_of(folder)


@pytest.fixture
def rig(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    settings = {
        "import_private_networks": ("127.0.0.0/8",),
        "import_stall_seconds": 60.0,
        "import_min_bytes_per_second": 100,
        "import_max_file_bytes": 0,
        "import_max_bytes": 0,
    }
    # Nobody beats for what a test has claimed.
    with running_server(tmp_path, operation_lease_seconds=600.0) as server, url_server() as web:
        yield Rig(server, web, tmp_path, settings)


def test_files_become_one_version_with_its_origin(rig: Rig) -> None:
    first = rig.web.serve("/data.jsonl", File(DATA, '"1"'))
    second = rig.web.serve("/more", File(MORE))
    done = rig.result(
        {"urls": [first + "?token=s3cret"], "checksum": sha256(DATA), "size_bytes": len(DATA)},
        {"urls": [second], "path": "folder/more.bin"},
    )
    assert (done.existed, done.file_count, done.size_bytes) == (False, 2, len(DATA) + len(MORE))
    assert done.fetched_bytes == done.size_bytes
    assert rig.pulled(done.version) == {"data.jsonl": DATA, "folder/more.bin": MORE}
    with rig.client as client:
        version = client.catalog.version(done.version)
        assert client.catalog.get(TARGET).source == "url"
    assert version.origin.source == first
    assert version.origin.operation.startswith("operations/op_")
    assert [path for path in (rig.folder / "1" / "op_1").rglob("*") if path.is_file()] == [
        rig.folder / "1" / "op_1" / "request-id"
    ]


@pytest.mark.contract("S4-23")
def test_what_is_here_with_the_same_checksums_is_not_fetched_again_unless_forced(rig: Rig) -> None:
    url = rig.web.serve("/data.bin", File(DATA))
    file = {"urls": [url], "checksum": sha256(DATA)}
    first = rig.result(file)
    asked = len(rig.web.asked)
    again = rig.result(file)
    assert (again.version, again.existed, again.digest) == (first.version, True, first.digest)
    assert (again.file_count, again.size_bytes, again.fetched_bytes) == (1, len(DATA), 0)
    assert len(rig.web.asked) == asked
    assert rig.result({**file, "path": "other"}).existed is False
    forced = rig.result(file, force=True)
    assert (forced.existed, forced.fetched_bytes) == (False, len(DATA))
    assert forced.version != first.version


def test_without_checksums_only_the_server_could_tell_so_it_is_fetched(rig: Rig) -> None:
    file = {"urls": [rig.web.serve("/data.bin", File(MORE))]}
    first, second = rig.result(file), rig.result(file)
    assert (second.existed, second.fetched_bytes) == (False, len(MORE))
    assert second.version != first.version


def test_a_look_tells_size_room_and_presence_and_fetches_nothing(rig: Rig) -> None:
    file = {"urls": [rig.web.serve("/data.bin", File(DATA))], "checksum": sha256(DATA)}
    look = rig.result(file, check_only=True)
    assert (look.existed, look.version, look.size_bytes, look.fetched_bytes) == (False, "", len(DATA), 0)
    assert 0 < look.needed_bytes <= 2 * len(DATA) < look.free_bytes
    made = rig.result(file)
    assert rig.result(file, check_only=True).version == made.version
    assert rig.problem({"urls": [rig.web.url("/none")]}, check_only=True).reason == "SOURCE_NOT_FOUND"
    wrong = rig.problem({**file, "size_bytes": 5}, check_only=True, force=True)
    assert wrong.reason == "SOURCE_MISMATCH"


def test_archives_are_unpacked_into_their_folders(rig: Rig) -> None:
    inner = {"train.jsonl": DATA, "deep/test.jsonl": MORE}
    kept = zipped({"y": b"y"})  # once: its members have the time of now
    files = (
        {"urls": [rig.web.serve("/a.tar.gz", File(tar_gz(inner)))], "unpack": True},
        {"urls": [rig.web.serve("/b.zip", File(zipped({"x.txt": b"x"})))], "unpack": True, "path": "b/"},
        {"urls": [rig.web.serve("/c.zip", File(kept))]},
    )
    done = rig.result(*files)
    assert rig.pulled(done.version) == {**inner, "b/x.txt": b"x", "c.zip": kept}
    assert done.file_count == 4


@pytest.mark.parametrize("name", ["unpacked", "00000", "cache", "..%2f", "a.part"])
def test_an_archive_may_have_any_name(rig: Rig, name: str) -> None:
    url = rig.web.serve(f"/{name}", File(tar_gz({"x.txt": b"x"})))
    done = rig.result({"urls": [url], "unpack": True})
    assert rig.pulled(done.version) == {"x.txt": b"x"}


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (tar_gz({"../evil": b"x"}), "BAD_PATH"),
        (tar_gz({"data.bin": b"x"}), "BAD_PATH"),  # the other file has that path
        (tar_gz({"DATA.bin": b"x"}), "BAD_PATH"),
        (tar_gz({"data.bin/x": b"x"}), "BAD_PATH"),
        (tar_gz({"\udcff\udcfeq": b"x"}), "BAD_PATH"),  # no UTF-8
        (zipped({}), "SOURCE_MISMATCH"),
        (tar_gz({"a": b"x"})[:-9], "SOURCE_MISMATCH"),
        (b"<html>Sign in</html>", "FORMAT_NOT_ALLOWED"),
    ],
)
def test_archives_that_cannot_be_taken_make_no_version(rig: Rig, archive: bytes, reason: str) -> None:
    packed = {"urls": [rig.web.serve("/a.tar.gz", File(archive))], "unpack": True}
    plain = {"urls": [rig.web.serve("/data.bin", File(MORE))]}
    problem = rig.problem(plain, packed)
    assert (problem.reason, problem.retry) == (reason, False)
    with rig.client as client, pytest.raises(NotFound):
        client.catalog.get(TARGET)


@pytest.mark.contract("S0-110", "S2-49", "S4-26")
def test_failures_are_told_apart_and_those_that_may_pass_are_tried_again(rig: Rig) -> None:
    gone = rig.problem({"urls": [rig.web.serve("/gone", Status(404))]})
    assert (gone.reason, gone.retry) == ("SOURCE_NOT_FOUND", False)
    denied = rig.problem({"urls": [rig.web.serve("/denied", Guarded("s3cret", File(MORE)))]})
    assert (denied.reason, denied.retry) == ("SOURCE_DENIED", False)
    busy = rig.problem({"urls": [rig.web.serve("/busy", Status(503, {"Retry-After": "900"}))]})
    assert (busy.reason, busy.retry, busy.retry_after) == ("SOURCE_UNREACHABLE", True, 900.0)
    wrong = rig.problem({"urls": [rig.web.serve("/wrong", File(MORE))], "checksum": sha256(DATA)})
    assert (wrong.reason, wrong.retry) == ("SOURCE_MISMATCH", False)
    inside = rig.problem({"urls": [rig.web.serve("/inside", redirect("http://169.254.169.254/"))]})
    assert (inside.reason, inside.retry) == ("SOURCE_ADDRESS_REFUSED", False)
    rig.settings["import_max_file_bytes"] = 1000
    large = rig.problem({"urls": [rig.web.serve("/large", File(MORE))]})
    assert (large.reason, large.retry) == ("TOO_LARGE", False)
    rig.settings |= {"import_max_file_bytes": 0, "import_max_bytes": 150_000}
    both = rig.problem({"urls": [rig.web.url("/large")]}, {"urls": [rig.web.url("/large")], "path": "again"})
    assert (both.reason, both.retry) == ("TOO_LARGE", False)
    rig.settings["import_private_networks"] = ()
    refused = rig.problem({"urls": [rig.web.url("/large")]})
    assert (refused.reason, refused.facts["host"]) == ("SOURCE_ADDRESS_REFUSED", "127.0.0.1")


def test_a_mirror_takes_over_and_a_secret_opens_the_door(rig: Rig) -> None:
    rig.secrets["127.0.0.1"] = "s3cret"
    urls = [
        rig.web.serve("/down", Status(503)),
        rig.web.serve("/cut", Cut(DATA, '"1"', after=MIB)),
        rig.web.serve("/mirror", Guarded("s3cret", File(DATA, '"2"'))),
    ]
    done = rig.result({"urls": urls, "checksum": sha256(DATA), "path": "data.bin"})
    assert rig.pulled(done.version) == {"data.bin": DATA}
    assert rig.web.asked[-1].start == MIB


def test_an_attempt_goes_on_where_the_one_before_ended(rig: Rig) -> None:
    archive = tar_gz({"a.txt": b"a", "b.txt": MORE})
    spec = rig.spec(
        {"urls": [rig.web.serve("/first", File(DATA))], "path": "first"},
        {"urls": [rig.web.serve("/archive", File(archive))], "unpack": True, "path": "in"},
        {"urls": [rig.web.serve("/second", in_turn(File(MORE), Status(404)))], "path": "second"},
    )
    failed = run_here(spec, import_urls.run)
    assert failed.problem is not None
    assert failed.problem.reason == "SOURCE_NOT_FOUND"
    asked = len(rig.web.asked)
    rig.web.serve("/second", File(MORE))
    done = ImportResult.model_validate(run_here(spec, import_urls.run).result)
    fetched = {each.target for each in rig.web.asked[asked:] if each.headers.get("range") != "bytes=0-0"}
    assert "/second" in fetched
    assert rig.pulled(done.version) == {"first": DATA, "in/a.txt": b"a", "in/b.txt": MORE, "second": MORE}


@pytest.mark.slow
@pytest.mark.contract("S4-2", "S4-15", "S4-26", "S4-28")
def test_an_import_that_is_killed_goes_on_with_what_is_safe(rig: Rig) -> None:
    large = pattern("large", 40 * MIB)
    url = rig.web.serve("/large", Stalled(large, '"1"', after=36 * MIB))
    spec = rig.spec(
        {"urls": [url], "checksum": sha256(large)}, {"urls": [rig.web.serve("/more", File(MORE))]}
    )
    with running_body(spec) as body:
        seen = body.wait_for(
            lambda each: each.progress and each.progress.done >= 36 * MIB + len(MORE)
        ).progress
        assert seen is not None
        assert (seen.phase, seen.unit, seen.total) == ("fetching", "bytes", len(large) + len(MORE))
        assert [(each.path, each.total) for each in seen.files] == [("large", len(large))]
        assert 85 < seen.percent < 95
        body.process.send_signal(signal.SIGKILL)
        assert body.end().status == -signal.SIGKILL
    asked = len(rig.web.asked)
    rig.web.serve("/large", File(large, '"1"'))
    ended = run_body(spec)
    done = ImportResult.model_validate(ended.last.result)
    assert done.fetched_bytes <= 8 * MIB  # 32 MiB were on the disk
    starts = [each.start or 0 for each in rig.web.asked[asked:] if each.target == "/large"]
    assert 32 * MIB <= starts[-1] <= 36 * MIB
    assert "/more" not in [each.target for each in rig.web.asked[asked:] if each.start != 0]
    assert rig.pulled(done.version) == {"large": large, "more": MORE}


@pytest.mark.slow
def test_an_import_stops_when_it_is_asked_to(rig: Rig) -> None:
    url = rig.web.serve("/data", in_turn(File(DATA), silent))
    with running_body(rig.spec({"urls": [url]})) as body:
        body.wait_for(lambda each: each.progress and each.progress.phase == "fetching")
        body.process.terminate()
        assert body.end().last.cancelled
