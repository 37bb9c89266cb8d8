"""The server is killed (SIGKILL) after each step of the write order: acknowledged bytes stay, all or nothing.

For a stream: pack reserved, appended, footer, synced, renamed, folder synced, rows written, durable but not
answered. For a commit: sealed, rows written, durable but not answered.
"""

import contextlib
import pathlib
from collections.abc import Iterator

import grpc
import pytest

from helpers.forked_servers import KILLED, ForkedServer, ForkedServers
from helpers.patterns import pattern
from helpers.transfers import Cut, Pusher, cut, stream
from ingot.v1 import transfer_pb2, transfer_pb2_grpc

pytestmark = pytest.mark.slow

ARTIFACT = "namespaces/admin/datasets/crash"
FIRST = {"first.bin": pattern("acknowledged", 1_500_000)}
SECOND = {"second.bin": pattern("on its way", 1_500_000), "small.txt": b"small"}


@contextlib.contextmanager
def _server(
    servers: ForkedServers, data: pathlib.Path, failpoint: str = ""
) -> Iterator[tuple[Pusher, ForkedServer]]:
    with servers.serving(data, failpoint) as server:
        metadata = (("authorization", f"Bearer {server.admin_token}"),)
        with grpc.insecure_channel(f"unix:{server.facts['socket']}") as channel:
            yield Pusher(transfer_pb2_grpc.TransferServiceStub(channel), metadata), server


def _cuts(files: dict[str, bytes]) -> dict[str, Cut]:
    return {path: cut(data) for path, data in files.items()}


def _chunks(files: dict[str, bytes]) -> list[tuple[bytes, bytes]]:
    return [chunk for file in _cuts(files).values() for chunk in file.chunks]


@pytest.mark.parametrize(
    ("failpoint", "counted"),
    [
        pytest.param("pack.reserved", False, marks=pytest.mark.long),
        ("pack.appended", False),
        pytest.param("pack.footer", False, marks=pytest.mark.long),
        pytest.param("pack.synced", False, marks=pytest.mark.long),
        ("pack.renamed", False),
        pytest.param("pack.folder_synced", False, marks=pytest.mark.long),
        ("intake.indexed", False),
        ("stream.durable", True),
    ],
)
@pytest.mark.contract("S3-53", "S3-59", "S3-60")
def test_killed_in_a_stream(
    servers: ForkedServers, tmp_path: pathlib.Path, failpoint: str, counted: bool
) -> None:
    data = tmp_path / "data"
    with _server(servers, data) as (pusher, _):
        version = pusher.push(FIRST, ARTIFACT)
        upload = pusher.begin(ARTIFACT)
    with _server(servers, data, failpoint) as (pusher, server):
        with pytest.raises(grpc.RpcError):
            pusher.put(stream(upload, _chunks(SECOND)))
        assert server.wait() == KILLED

    with _server(servers, data) as (pusher, _):
        assert pusher.read(version, "first.bin") == FIRST["first.bin"]
        assert pusher.upload(upload).state == transfer_pb2.UPLOAD_STATE_OPEN
        assert not list(data.glob("ingest/*/*.open"))
        cuts = _cuts(SECOND)
        travelled = pusher.put_missing(upload, cuts)  # a stream counts in full or not at all
        assert travelled == (0 if counted else sum(map(len, SECOND.values())))
        pusher.manifest(upload, cuts)
        second = pusher.commit(upload, cuts).version.name
        for path, content in SECOND.items():
            assert pusher.read(second, path) == content


@pytest.mark.parametrize(
    ("failpoint", "counted"), [("commit.sealed", False), ("commit.adopted", False), ("commit.durable", True)]
)
@pytest.mark.contract("S3-53", "S3-59", "S3-60")
def test_killed_in_a_commit(
    servers: ForkedServers, tmp_path: pathlib.Path, failpoint: str, counted: bool
) -> None:
    data = tmp_path / "data"
    cuts = _cuts(SECOND)
    with _server(servers, data) as (pusher, _):
        first = pusher.push(FIRST, ARTIFACT)
        upload = pusher.begin(ARTIFACT)
        pusher.put_missing(upload, cuts)
        pusher.manifest(upload, cuts)
    with _server(servers, data, failpoint) as (pusher, server):
        with pytest.raises(grpc.RpcError):
            pusher.commit(upload, cuts)
        assert server.wait() == KILLED

    with _server(servers, data) as (pusher, _):
        second = f"{ARTIFACT}/versions/2"
        assert pusher.files(ARTIFACT)[0].tree == (second if counted else first)
        assert pusher.commit(upload, cuts).version.name == second  # the client just asks again
        for path, content in SECOND.items():
            assert pusher.read(second, path) == content
        assert pusher.read(first, "first.bin") == FIRST["first.bin"]
