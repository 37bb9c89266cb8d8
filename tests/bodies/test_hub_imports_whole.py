"""Imports from the Hub as a user has them: a whole server, its runner, bodies in processes of their own."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import psutil
import pytest

from helpers.eventually import eventually
from helpers.hub_faults import Fault
from helpers.hub_repositories import sha256
from helpers.hub_server import Hub, hub_server
from helpers.patterns import pattern
from helpers.sdk import tree_of
from helpers.servers import Server, running_server
from ingot.client import Client, Denied
from ingot.v1 import operations_pb2 as pb

MIB = 1024 * 1024
BIG = pattern("big", 40 * MIB)
FILES = {"config.json": b"{}", "small.safetensors": pattern("small", 300_000), "big.bin": BIG}
TOKEN = "hf_the-token-of-sara"

pytestmark = pytest.mark.slow


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as hub:
        hub.add("google/flan-t5-small", FILES)
        hub.add("org/private", FILES, private=True, readers={TOKEN})
        hub.add("org/gated", FILES, gated=True, readers={TOKEN})
        yield hub


@pytest.fixture
def server(hub: Hub, tmp_path: pathlib.Path) -> Iterator[Server]:
    with running_server(tmp_path, hub_endpoint=hub.url, operation_retry_seconds=0.1) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address, server.token("sara"), user="ada") as client:
        yield client


def _body() -> psutil.Process | None:
    """Return the process of the body that runs."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # others end meanwhile
            if "ingot.server.bodies" in process.cmdline():
                return process
    return None


@pytest.mark.contract("S0-27", "S2-22")
def test_an_import_whose_body_is_killed_goes_on_by_itself(
    hub: Hub, client: Client, tmp_path: pathlib.Path
) -> None:
    hub.faults.add(f"GET /lfs/{sha256(BIG)}", Fault(stall_after=34 * MIB))
    name = client.operations.start_import("hf://google/flan-t5-small").name

    others = sum(len(data) for path, data in FILES.items() if path != "big.bin")

    def fetching() -> pb.Operation | None:
        found = client.operations.get(name)
        done = found.progress.done >= 34 * MIB + others and len(found.progress.files) == 1
        return found if done else None

    live = eventually(fetching)
    assert live is not None
    assert (live.state, live.progress.phase, live.progress.unit) == (
        pb.OPERATION_STATE_RUNNING,
        "fetching",
        "bytes",
    )
    assert live.progress.total == sum(map(len, FILES.values()))
    assert [each.path for each in live.progress.files] == ["big.bin"]
    body = _body()
    assert body is not None
    hub.requests.clear()  # it waits for the rest of the large file, and asks for nothing
    body.kill()
    done = client.operations.wait(name)
    assert (done.state, done.attempt) == (pb.OPERATION_STATE_SUCCEEDED, 2)
    fetched = done.result["fetched_bytes"]
    assert isinstance(fetched, float)
    assert fetched < 12 * MIB  # of 40
    assert len(hub.asked("GET /google/flan-t5-small/resolve")) == 1  # the others were in the upload
    client.pull("models/google_flan-t5-small", tmp_path / "out")
    assert tree_of(tmp_path / "out") == FILES
    assert len(list(client.catalog.versions("models/google_flan-t5-small"))) == 1


@pytest.mark.contract("S2-15", "S2-49")
def test_a_credential_opens_what_is_private_and_is_written_nowhere(
    hub: Hub, server: Server, client: Client
) -> None:
    for source in ("hf://org/private", "hf://org/gated"):
        failed = client.operations.start_import(source).name
        with pytest.raises(Denied) as caught:
            client.operations.wait(failed)
        assert caught.value.reason == "SOURCE_DENIED"
        found = client.operations.get(failed)
        assert (found.state, found.attempt) == (pb.OPERATION_STATE_FAILED, 1)  # trying again would not help
        assert f"ingot credentials set {hub.url.removeprefix('http://')}" in found.problem.next_step
    client.auth.set_credential(hub.url.removeprefix("http://"), TOKEN)
    for source in ("hf://org/private", "hf://org/gated"):
        done = client.operations.wait(client.operations.start_import(source).name)
        assert done.result["existed"] is False
    assert [file for file in _files_below(server.folder) if TOKEN.encode() in _content_of(file)] == []


def _files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the files below a folder in which a server works: some of them go meanwhile."""
    return [pathlib.Path(at, name) for at, _, names in os.walk(folder) for name in names]


def _content_of(file: pathlib.Path) -> bytes:
    try:
        return b"" if file.is_socket() else file.read_bytes()
    except FileNotFoundError:
        return b""
