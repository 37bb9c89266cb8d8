"""Exports as bundles: resumed after a kill, never over somebody else's file, with the jobs behind them."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.body_work import run_here
from helpers.patterns import pattern
from helpers.sdk import member_client, write_tree
from helpers.servers import Server
from ingot.client import Client
from ingot.server.bodies import export_bundle
from ingot.server.bodies.failures import BodyFailure, Cancelled
from ingot.server.core import params
from ingot.server.core.errors import Precondition, Reason
from ingot.server.sources import export_places
from ingot.server.sources.bundles import Bundle

FILES = {"config.json": b"{}", "model.bin": pattern("weights", 3_000_000), "empty": b""}


class Rig:
    """A server, and a root below which its exports may write."""

    def __init__(self, client: Client, address: str, token: str, folder: Path) -> None:
        self.client, self._address, self._token, self._folder = client, address, token, folder
        self.root = folder / "root"
        self.target = self.root / "sub" / "it.ingot"
        (folder / "data").mkdir()

    def push(self, files: dict[str, bytes]) -> str:
        source = self._folder / f"source{len(os.listdir(self._folder))}"
        return self.client.push("models/tiny", write_tree(source, files)).name

    def export(
        self, *versions: str, stopping: threading.Event | None = None, **wanted: object
    ) -> params.ExportResult:
        destination = {"kind": "bundle", "path": str(self.target), "root": str(self.root), **wanted}
        return run_here(
            export_bundle.run,
            params.ExportParams.model_validate({"versions": versions, "destination": destination}),
            self._folder / "own",
            server=self._address,
            token=self._token,
            settings={"data_dir": str(self._folder / "data")},
            stopping=stopping,
        )

    def opened(self, signer: str) -> Bundle:
        with Bundle.open(self.target, frozenset({signer})) as bundle:
            bundle.verify(lambda done, total: None)
            return bundle


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Client, Server]]:
    with member_client() as found:
        yield found


@pytest.fixture
def rig(served: tuple[Client, Server], tmp_path: Path) -> Rig:
    client, server = served
    return Rig(client, server.address, server.token("member"), tmp_path)


def test_versions_share_their_chunks(rig: Rig) -> None:
    first, second = rig.push(FILES), rig.push({**FILES, "config.json": b'{"b": 2}'})
    done = rig.export(first, second)
    assert (done.file_count, done.versions) == (6, (first, second))
    assert done.size_bytes < len(FILES["model.bin"]) + 60_000
    (artifact,) = rig.opened(done.signer).manifest.artifacts
    assert [each.name for each in artifact.versions] == [first, second]


def test_it_tells_of_the_jobs_behind_its_versions(rig: Rig) -> None:
    version = rig.push(FILES)
    job = {
        "name": "trainingJobs/job_1",
        "dataset_version": "d",
        "dataset_digest": "x",
        "config": {"epochs": 3},
    }
    (told,) = rig.opened(rig.export(version, jobs=(job,), since=1.5).signer).manifest.jobs
    assert (told.name, told.config) == ("trainingJobs/job_1", {"epochs": 3})


def test_the_same_bundle_is_not_written_again(rig: Rig) -> None:
    version = rig.push(FILES)
    first = rig.export(version)
    before = rig.target.stat().st_ino
    again = rig.export(version)
    assert (again.digest, again.written_bytes, rig.target.stat().st_ino) == (first.digest, 0, before)


def test_a_bundle_of_this_server_is_replaced_and_nothing_else(rig: Rig) -> None:
    first = rig.push(FILES)
    rig.export(first)
    rig.export(first, rig.push({"a": b"b"}))
    rig.target.write_bytes(b"precious")
    with pytest.raises(Precondition) as caught:
        rig.export(first)
    assert caught.value.reason is Reason.IN_USE
    assert rig.target.read_bytes() == b"precious"
    assert sorted(os.listdir(rig.target.parent)) == ["it.ingot"]


def test_a_bundle_inside_what_was_exported_is_refused(rig: Rig) -> None:
    version = rig.push(FILES)
    write_tree(rig.target.parent, {"model.bin": b"x", export_places.MARKER: b"{}"})
    with pytest.raises(Precondition) as caught:
        rig.export(version)
    assert (caught.value.reason, sorted(os.listdir(rig.root))) == (Reason.IN_USE, ["sub"])
    assert sorted(os.listdir(rig.target.parent)) == [export_places.MARKER, "model.bin"]


def test_what_a_killed_attempt_wrote_is_not_brought_again(rig: Rig) -> None:
    version = rig.push(FILES)
    whole = rig.export(version)
    left = bytearray(rig.target.read_bytes())
    rig.target.unlink()
    left[len(left) // 2 :] = bytes(len(left) - len(left) // 2)
    rig.target.with_name(".it.ingot.op_1.part").write_bytes(left)
    again = rig.export(version)
    assert again.digest == whole.digest
    assert 0 < again.written_bytes < whole.written_bytes * 0.7
    assert sorted(os.listdir(rig.target.parent)) == ["it.ingot"]


def test_what_an_attempt_at_another_bundle_left_is_thrown_away(rig: Rig) -> None:
    version = rig.push(FILES)
    rig.target.parent.mkdir(parents=True)
    rig.target.with_name(".it.ingot.op_1.part").write_bytes(pattern("other", 5_000_000))
    done = rig.export(version)
    assert rig.opened(done.signer).size == done.size_bytes


def test_one_that_is_asked_to_stop_leaves_nothing(rig: Rig) -> None:
    version = rig.push(FILES)
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Cancelled):
        rig.export(version, stopping=stopping)
    assert not rig.target.exists()


def test_links_on_the_way_are_refused(rig: Rig, tmp_path: Path) -> None:
    version = rig.push(FILES)
    outside = tmp_path / "outside"
    outside.mkdir()
    rig.root.mkdir()
    (rig.root / "sub").symlink_to(outside)
    with pytest.raises(BodyFailure) as caught:
        rig.export(version)
    assert caught.value.reason is Reason.BAD_PATH
    assert list(outside.iterdir()) == []
