"""Exports to a Hub: the repository is made, holds the version by one commit, and nothing travels twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.body_work import run_here
from helpers.hub_faults import Fault
from helpers.hub_repositories import HubRepository
from helpers.hub_server import Hub, hub_server
from helpers.hub_writing import WritableHub
from helpers.patterns import pattern
from helpers.sdk import member_client, write_tree
from helpers.servers import Server, running_server
from ingot.client import Client, NotAllowed
from ingot.server.bodies import export_hub
from ingot.server.core import params
from ingot.server.core.errors import Denied, Reason, Unavailable
from ingot.server.core.hosts import host_of

FIRST = {"config.json": b"{}", "model.safetensors": pattern("weights", 3_000_000), "empty": b""}
TOKEN = "hf_writer"

# The library hands an open file to its HTTP client in a way that this calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


class Rig:
    """A server and a Hub."""

    def __init__(self, client: Client, address: str, token: str, hub: Hub, folder: Path) -> None:
        self.client, self._address, self._token, self.hub, self._folder = client, address, token, hub, folder
        hub.tokens.add(TOKEN)

    def push(self, files: dict[str, bytes], name: str) -> str:
        return self.client.push("models/tiny", write_tree(self._folder / name, files)).name

    def export(self, version: str, *, token: str = TOKEN, **wanted: object) -> params.ExportResult:
        asked = params.ExportParams.model_validate(
            {"versions": (version,), "destination": {"kind": "hub", "repository": "org/tiny", **wanted}}
        )
        return run_here(
            export_hub.run,
            asked,
            self._folder / "own",
            server=self._address,
            token=self._token,
            settings={"hub_endpoint": self.hub.url},
            secrets={host_of(self.hub.url): token} if token else {},
        )

    def repository(self, kind: str = "models") -> HubRepository:
        return self.hub.repositories[kind, "org/tiny"]

    def files(self, branch: str = "main") -> dict[str, bytes]:
        repository = self.repository()
        found = repository.commits[repository.branches[branch]]
        return {path: data for path, data in found.items() if path != ".gitattributes"}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Client, Server]]:
    with member_client() as found:
        yield found


@pytest.fixture
def rig(served: tuple[Client, Server], tmp_path: Path) -> Iterator[Rig]:
    client, server = served
    with hub_server(WritableHub) as hub:
        yield Rig(client, server.address, server.token("member"), hub, tmp_path)


@pytest.mark.contract("S0-30")
def test_a_version_becomes_a_repository_by_one_commit(rig: Rig) -> None:
    done = rig.export(rig.push(FIRST, "a"), private=True, message="The first")
    assert rig.files() == FIRST
    assert rig.repository().private
    assert rig.repository().messages[-1] == "The first"
    assert done.url.endswith(rig.repository().branches["main"])
    assert len(rig.hub.asked("PUT /lfs/")) == 1


def test_the_same_content_again_makes_no_commit(rig: Rig) -> None:
    version = rig.push(FIRST, "a")
    first = rig.export(version)
    again = rig.export(version)
    assert (again.url.rpartition("/")[2], again.written_bytes) == (first.url.rpartition("/")[2], 0)
    assert len(rig.repository().commits) == 2  # the Hub's own, and ours
    assert len(rig.hub.asked("PUT /lfs/")) == 1


def test_the_next_version_sends_what_changed_and_removes_what_is_gone(rig: Rig) -> None:
    rig.export(rig.push({**FIRST, "old.bin": b"old"}, "a"))
    card = {"README.md": b"written on the Hub"}
    repository = rig.repository()
    repository.commit({**repository.commits[repository.branches["main"]], **card}, "card")
    sent = len(rig.hub.asked("PUT /lfs/"))
    second = {**FIRST, "config.json": b'{"b": 2}'}
    rig.export(rig.push(second, "b"))
    assert rig.files() == {**second, **card}
    assert len(rig.hub.asked("PUT /lfs/")) == sent


def test_a_dataset_goes_to_a_branch(rig: Rig) -> None:
    rig.export(rig.push(FIRST, "a"), repository_kind="dataset", branch="next")
    repository = rig.repository("datasets")
    assert repository.commits[repository.branches["next"]]["config.json"] == b"{}"
    assert "config.json" not in repository.commits[repository.branches["main"]]


def test_without_a_token_nothing_is_asked(rig: Rig) -> None:
    with pytest.raises(Denied) as caught:
        rig.export(rig.push(FIRST, "a"), token="")
    assert caught.value.reason is Reason.SOURCE_DENIED
    assert "ingot credentials set" in caught.value.next_step
    assert rig.hub.requests == []


def test_an_outage_is_told_and_the_next_attempt_goes_on(rig: Rig) -> None:
    version = rig.push(FIRST, "a")
    rig.hub.faults.add("POST /api/repos/create", Fault(status=503), times=10)
    with pytest.raises(Unavailable):
        rig.export(version)
    rig.hub.faults.clear()
    rig.export(version)
    assert rig.files() == FIRST


def test_a_refusal_while_large_files_are_sent_is_told_as_one(rig: Rig) -> None:
    version = rig.push(FIRST, "a")
    rig.hub.faults.add("PUT /lfs/", Fault(status=403), times=10)
    with pytest.raises(Denied) as caught:
        rig.export(version)
    assert caught.value.reason is Reason.SOURCE_DENIED
    assert list(rig.files()) == []


@pytest.mark.slow
@pytest.mark.contract("S0-12", "S0-20")
def test_a_whole_server_exports_with_the_credential_of_who_asks(tmp_path: Path) -> None:
    with (
        hub_server(WritableHub) as hub,
        running_server(tmp_path, hub_endpoint=hub.url, operation_attempts=1) as server,
        Client(server.address, server.token("sara")) as client,
    ):
        hub.tokens.add(TOKEN)
        client.push("datasets/chat", write_tree(tmp_path / "a", {"a.jsonl": b"{}\n"}))
        with pytest.raises(NotAllowed) as caught:
            client.operations.start_export("datasets/chat", "hf://datasets/org/chat")
        assert caught.value.reason == "SOURCE_DENIED"
        client.auth.set_credential(host_of(hub.url), TOKEN)
        started = client.operations.start_export("datasets/chat", "hf://datasets/org/chat")
        assert started is not None
        done = client.operations.wait(started.name)
        repository = hub.repositories["datasets", "org/chat"]
        assert repository.commits[repository.branches["main"]]["a.jsonl"] == b"{}\n"
        assert str(done.result["url"]).endswith(repository.branches["main"])
        assert {each.token for each in hub.requests if each.token} == {TOKEN}
