"""Imports from the Hub, body by body: a real server, a Hub on loopback, and all that can go wrong."""

import dataclasses
import pathlib
import signal
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from helpers.bodies import running_body
from helpers.claimed import Attempt, claimed, run_here
from helpers.hub_faults import Fault
from helpers.hub_repositories import sha256
from helpers.hub_server import Hub, hub_server
from helpers.patterns import pattern
from helpers.sdk import tree_of
from helpers.servers import Server, running_server
from ingot.client import Client
from ingot.server.bodies import import_hub
from ingot.server.core.body_protocol import BodySpec, Report, ReportedProblem
from ingot.server.core.params import ImportResult

MIB = 1024 * 1024
TARGET = "namespaces/member/models/google_flan-t5-small"
WEIGHTS = pattern("weights", 3 * MIB)
FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Tiny\n",
    "config.json": b'{"model_type": "t5"}',
    "model.safetensors": WEIGHTS,
    "onnx/model.onnx": pattern("onnx", 200_000),
    "empty.txt": b"",
}
FACTS: dict[str, object] = {
    "cardData": {"license": "mit", "language": "fa"},
    "tags": ["t5"],
    "pipeline_tag": "text2text-generation",
    "library_name": "transformers",
}


@dataclasses.dataclass(slots=True)
class Rig:
    """A server, a Hub, and where bodies keep their files."""

    server: Server
    hub: Hub
    folder: pathlib.Path
    bodies: int = 0
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def client(self) -> Client:
        return Client(self.server.address, self.server.token("member"), user="ada")

    def attempt(self, repository: str, target: str = TARGET, **source: Any) -> Attempt:
        params: dict[str, Any] = {
            "source": {"kind": "hub", "repository": repository, **_part(source, "source")},
            "target": {"artifact": target, **_part(source, "target")},
            **_part(source, "params"),
        }
        return claimed(self.server, "import", params, target=target)

    def spec(self, attempt: Attempt, token: str = "", stall: float = 60.0) -> BodySpec:
        self.bodies += 1
        endpoint = str(self.settings.get("hub_endpoint", self.hub.url))
        secrets = {endpoint.removeprefix("http://"): token} if token else {}
        settings: dict[str, Any] = {
            "hub_endpoint": self.hub.url,
            "import_stall_seconds": stall,
            "import_min_bytes_per_second": 1024,
            **self.settings,
        }
        return attempt.spec(self.folder / str(self.bodies), secrets=secrets, settings=settings)

    def run(self, repository: str, *, token: str = "", stall: float = 60.0, **told: Any) -> Report:
        return run_here(self.spec(self.attempt(repository, **told), token, stall), import_hub.run)

    def result(self, repository: str, *, token: str = "", **told: Any) -> ImportResult:
        report = self.run(repository, token=token, **told)
        assert report.problem is None, report.problem
        return ImportResult.model_validate(report.result)

    def problem(self, repository: str, *, token: str = "", **told: Any) -> ReportedProblem:
        report = self.run(repository, token=token, **told)
        assert report.problem is not None, report
        return report.problem

    def pulled(self, version: str) -> dict[str, bytes]:
        with self.client as client:
            out = self.folder / f"out-{version.replace('/', '-')}"
            client.pull(version, out)
        return tree_of(out)


def _part(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the keywords that belong to a part of the parameters."""
    parts = {
        "source": ("repository_kind", "revision", "include", "exclude"),
        "params": ("force", "check_only", "max_bytes_per_second"),
    }
    others = (*parts["source"], *parts["params"])
    if name == "target":
        return {key: value for key, value in told.items() if key not in others}
    return {key: value for key, value in told.items() if key in parts[name]}


@pytest.fixture
def rig(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    # Nobody beats for what a test has claimed.
    with running_server(tmp_path, operation_lease_seconds=600.0) as server, hub_server() as hub:
        hub.add("google/flan-t5-small", FILES, facts=FACTS)
        yield Rig(server, hub, tmp_path)


@pytest.mark.contract("S2-3", "S2-46")
def test_a_repository_becomes_a_version_with_its_origin(rig: Rig) -> None:
    done = rig.result("google/flan-t5-small", tags=["mine"])
    commit = rig.hub.repositories["models", "google/flan-t5-small"].branches["main"]
    assert (done.existed, done.file_count) == (False, 5)
    assert done.source == f"hf://google/flan-t5-small@{commit}"
    assert done.fetched_bytes == done.size_bytes == sum(map(len, FILES.values()))
    assert rig.pulled(done.version) == FILES
    with rig.client as client:
        version = client.catalog.version(done.version)
        assert (version.origin.source, version.origin.hub_commit) == ("hf://google/flan-t5-small", commit)
        assert version.digest == done.digest
        artifact = client.catalog.get(TARGET)
    assert (artifact.display_name, artifact.source) == ("google/flan-t5-small", "huggingface")
    assert (artifact.license, artifact.language, list(artifact.tags)) == ("mit", "fa", ["mine"])
    assert (artifact.task_type, artifact.framework) == ("text2text-generation", "transformers")
    assert artifact.card.endswith("# Tiny")
    assert {each.name for each in (rig.folder / "1").rglob("*") if each.is_file()} == {
        "card",
        "commit",
        "upload",
    }


@pytest.mark.contract("S2-4")
def test_what_is_here_already_is_not_fetched_again(rig: Rig) -> None:
    first = rig.result("google/flan-t5-small")
    rig.hub.requests.clear()
    again = rig.result("google/flan-t5-small")
    assert (again.existed, again.version, again.digest) == (True, first.version, first.digest)
    assert len(rig.hub.requests) == 1  # it asked for the commit
    other = rig.result("google/flan-t5-small", include=["*.json"])
    assert (other.existed, other.file_count) == (False, 1)
    forced = rig.result("google/flan-t5-small", force=True)
    assert (forced.existed, forced.digest) == (False, first.digest)
    assert forced.version != first.version
    repository = rig.hub.repositories["models", "google/flan-t5-small"]
    repository.commit({**FILES, "config.json": b"{}"})
    newer = rig.result("google/flan-t5-small")
    assert (newer.existed, newer.commit) == (False, repository.branches["main"])


def test_a_look_fetches_nothing(rig: Rig) -> None:
    look = rig.result("google/flan-t5-small", check_only=True)
    size = sum(map(len, FILES.values()))
    assert (look.version, look.existed, look.size_bytes) == ("", False, size)
    assert look.needed_bytes == 2 * size  # the server's copy, and up to four files on their way
    assert look.free_bytes > 0
    assert len(rig.hub.requests) == 1
    rig.result("google/flan-t5-small")
    assert rig.result("google/flan-t5-small", check_only=True).existed


def test_datasets_globs_and_a_rate(rig: Rig) -> None:
    rig.hub.add("org/chat", {"data/a.csv": pattern("csv", 300_000), "b.txt": b"b"}, kind="datasets")
    target = "namespaces/member/datasets/org_chat"
    done = rig.result(
        "org/chat",
        target=target,
        repository_kind="dataset",
        exclude=["*.txt"],
        max_bytes_per_second=10 * MIB,
    )
    assert (done.source.partition("@")[0], done.file_count) == ("hf://datasets/org/chat", 1)
    assert rig.problem("org/chat", target=target, repository_kind="dataset", include=["*.x"]).reason == (
        "SOURCE_NOT_FOUND"
    )


@pytest.mark.contract("S2-15")
def test_a_token_opens_private_and_gated_repositories(rig: Rig) -> None:
    for about in ("private", "gated"):
        rig.hub.add(f"org/{about}", FILES, readers={"hf_mine"}, **{about: True})  # type: ignore[arg-type]
        target = f"namespaces/member/models/org_{about}"
        denied = rig.problem(f"org/{about}", target=target)
        assert (denied.reason, denied.retry) == ("SOURCE_DENIED", False)
        assert "ingot credentials set" in denied.next_step
        done = rig.result(f"org/{about}", target=target, token="hf_mine")
        assert done.file_count == 5
    assert {each.token for each in rig.hub.asked("GET /lfs/")} == {""}  # it stays at the Hub


def test_a_token_does_not_travel_in_the_clear(rig: Rig) -> None:
    rig.settings = {"hub_endpoint": rig.hub.url.replace("127.0.0.1", "localhost")}
    refused = rig.problem("google/flan-t5-small", token="hf_mine")
    assert (refused.reason, refused.facts["cause"]) == ("SOURCE_DENIED", "clear")
    assert rig.hub.requests == []


FAULTS: list[tuple[str, str, Fault, int, str]] = [
    # what, which request, fault, how often, outcome: `done` or reason and whether it is retried
    ("cut half way", "GET /lfs/", Fault(cut_after=MIB), 3, "done"),
    ("cut in a small file", "GET .*/config.json", Fault(cut_after=5), 1, "done"),
    ("stalled half way", "GET /lfs/", Fault(stall_after=MIB), 1, "done"),
    ("stalled at every try", "GET /lfs/", Fault(stall_after=0), 9, "SOURCE_UNREACHABLE retry"),
    ("slow, but alive", "GET /lfs/", Fault(pause=0.01), 1, "done"),
    ("a wrong byte once", "GET /lfs/", Fault(flip=1000), 1, "done"),
    ("a wrong byte always", "GET /lfs/", Fault(flip=1000), 9, "SOURCE_MISMATCH"),
    ("a wrong byte in a small file, once", "GET .*/config.json", Fault(flip=3), 1, "done"),
    ("a wrong byte in a small file, always", "GET .*/config.json", Fault(flip=3), 9, "SOURCE_MISMATCH"),
    ("too short, and says so", "GET .*/config.json", Fault(short_by=5), 9, "SOURCE_MISMATCH"),
    ("cut, then another ETag", "GET /lfs/", Fault(cut_after=MIB), 1, "done with another ETag"),
    ("HTTP 500 once", "GET /lfs/", Fault(status=500), 1, "done"),
    ("HTTP 503 with a small file", "GET .*/config.json", Fault(status=503), 2, "done"),
    ("HTTP 429, a moment", "GET /lfs/", Fault(status=429, headers={"Retry-After": "0"}), 1, "done"),
    ("HTTP 429, an hour", "GET /lfs/", Fault(status=429, headers={"Retry-After": "3600"}), 9, "wait 3600"),
    ("HTTP 403 at the network", "GET /lfs/", Fault(status=403), 9, "SOURCE_DENIED"),
    ("gone meanwhile", "GET .*/config.json", Fault(status=404), 9, "SOURCE_CHANGED retry"),
    ("HTTP 503 at the look-up", "GET /api/", Fault(status=503), 1, "SOURCE_UNREACHABLE retry"),
    ("cut at the look-up", "GET /api/", Fault(cut_after=10), 1, "SOURCE_UNREACHABLE retry"),
    ("no Hub at all", "GET /api/", Fault(status=200, body=b"<html>"), 1, "SOURCE_UNREACHABLE"),
]


@pytest.mark.slow
@pytest.mark.contract("S2-49", "S0-110")
@pytest.mark.parametrize(
    ("where", "fault", "times", "outcome"), [each[1:] for each in FAULTS], ids=[each[0] for each in FAULTS]
)
def test_faults_end_in_the_right_bytes_or_the_right_reason(
    rig: Rig, where: str, fault: Fault, times: int, outcome: str
) -> None:
    rig.hub.faults.add(where, fault, times)
    if outcome.endswith("another ETag"):
        rig.hub.faults.add(where, Fault(headers={"ETag": '"other"'}))
    stalls = fault.stall_after is not None or fault.pause
    report = rig.run("google/flan-t5-small", stall=0.5 if stalls else 60.0)
    if outcome.startswith("done"):
        assert report.problem is None, report.problem
        assert rig.pulled(str((report.result or {})["version"])) == FILES
        return
    assert report.problem is not None
    if outcome.startswith("wait"):
        assert (report.problem.retry, report.problem.retry_after) == (True, float(outcome.split()[1]))
        return
    told = report.problem.reason + (" retry" if report.problem.retry else "")
    assert told == outcome, report.problem
    assert report.problem.next_step
    with rig.client as client:
        assert list(client.catalog.list("models")) == []  # nothing half is to be seen


def test_limits_and_paths_are_checked_before_anything_is_fetched(rig: Rig) -> None:
    rig.settings = {"import_max_bytes": MIB}
    assert rig.problem("google/flan-t5-small").reason == "TOO_LARGE"
    rig.settings = {"import_max_file_bytes": MIB}
    assert rig.problem("google/flan-t5-small").reason == "TOO_LARGE"
    rig.settings = {}
    rig.hub.add("org/odd", {"a/B": b"1", "a/b": b"2"})
    odd = rig.problem("org/odd")
    assert (odd.reason, odd.retry) == ("BAD_PATH", False)
    assert rig.result("org/odd", exclude=["B"]).file_count == 1
    assert rig.hub.asked("GET /lfs/") == []


def test_unknown_names_and_a_full_disk_are_told_apart(rig: Rig) -> None:
    rig.hub.tokens.add("hf_other")
    unknown = rig.problem("google/flan-t6", token="hf_other")
    assert (unknown.reason, unknown.retry) == ("SOURCE_NOT_FOUND", False)
    rig.hub.repositories["models", "google/flan-t5-small"].claimed_sizes["model.safetensors"] = 10**18
    full = rig.problem("google/flan-t5-small")
    assert (full.reason, full.retry) == ("DISK_LOW", True)
    assert rig.hub.asked("GET /lfs/") == []  # found out before


@pytest.mark.slow
def test_a_killed_import_goes_on_where_it_was(rig: Rig) -> None:
    big = pattern("big", 40 * MIB)
    rig.hub.add("org/big", {**FILES, "big.bin": big})
    attempt = rig.attempt("org/big")
    spec = rig.spec(attempt)
    rig.hub.faults.add(f"GET /lfs/{sha256(big)}", Fault(stall_after=34 * MIB))
    with running_body(spec) as body:
        body.wait_for(lambda each: each.progress and each.progress.done >= 37 * MIB)
        body.process.send_signal(signal.SIGKILL)
        assert body.end().status == -signal.SIGKILL
    small = len(rig.hub.asked("GET /org/big/resolve"))
    rig.hub.requests.clear()
    rig.hub.faults.clear()
    with running_body(spec) as body:
        ended = body.end()
    assert ended.last.problem is None, ended.last.problem
    done = ImportResult.model_validate(ended.last.result)
    assert rig.pulled(done.version) == {**FILES, "big.bin": big}
    assert done.fetched_bytes < 12 * MIB  # 32 MiB of the big file were safe
    starts = [int(each.range[6:-1]) for each in rig.hub.asked("GET /lfs/") if each.range]
    assert len(starts) == 1
    assert 32 * MIB <= starts[0] <= 34 * MIB
    assert len(rig.hub.asked("GET /org/big/resolve")) < small
    with rig.client as client:
        assert len(list(client.catalog.versions(TARGET))) == 1


@pytest.mark.slow
@pytest.mark.contract("S0-39")
def test_an_import_stops_when_it_is_asked_to(rig: Rig) -> None:
    rig.hub.faults.add("GET /lfs/", Fault(stall_after=MIB), 9)
    with running_body(rig.spec(rig.attempt("google/flan-t5-small"))) as body:
        progress = body.wait_for(lambda each: each.progress and each.progress.done >= MIB).progress
        assert progress is not None
        assert "model.safetensors" in [each.path for each in progress.files]
        body.process.terminate()
        ended = body.end()
    assert (ended.status, ended.last) == (0, Report(cancelled=True))
