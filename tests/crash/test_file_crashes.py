"""The server is killed (SIGKILL) while it takes a whole file: the same call again makes the one version."""

import contextlib
import pathlib
import uuid
from collections.abc import Iterator

import grpc
import pytest

from helpers.forked_servers import KILLED, ForkedServer, ForkedServers
from helpers.patterns import pattern
from helpers.transfers import MIB, Pusher
from ingot.v1 import catalog_pb2, transfer_pb2, transfer_pb2_grpc

pytestmark = pytest.mark.slow

ARTIFACT = "namespaces/admin/datasets/crash"
CONTENT = pattern("whole file", 9 * MIB)


@contextlib.contextmanager
def _server(
    servers: ForkedServers, data: pathlib.Path, failpoint: str = ""
) -> Iterator[tuple[Pusher, ForkedServer]]:
    with servers.serving(data, failpoint) as server:
        metadata = (("authorization", f"Bearer {server.admin_token}"),)
        with grpc.insecure_channel(f"unix:{server.facts['socket']}") as channel:
            yield Pusher(transfer_pb2_grpc.TransferServiceStub(channel), metadata), server


def _messages(request_id: str) -> Iterator[transfer_pb2.UploadFileRequest]:
    target = transfer_pb2.NewVersion(artifact=ARTIFACT, create=catalog_pb2.Artifact())
    header = transfer_pb2.UploadFileHeader(version=target, path="a.bin", request_id=request_id)
    yield transfer_pb2.UploadFileRequest(header=header)
    for start in range(0, len(CONTENT), MIB):
        yield transfer_pb2.UploadFileRequest(data=CONTENT[start : start + MIB])
    yield transfer_pb2.UploadFileRequest(finish=transfer_pb2.UploadFileFinish(size_bytes=len(CONTENT)))


@pytest.mark.parametrize(
    ("failpoint", "done"),
    [
        ("pack.appended", False),
        pytest.param("pack.renamed", False, marks=pytest.mark.long),
        pytest.param("intake.indexed", False, marks=pytest.mark.long),
        ("stream.durable", False),
        pytest.param("commit.sealed", False, marks=pytest.mark.long),
        pytest.param("commit.adopted", False, marks=pytest.mark.long),
        ("commit.durable", True),
    ],
)
@pytest.mark.contract("S3-53", "S3-60")
def test_killed_while_it_takes_a_file(
    servers: ForkedServers, tmp_path: pathlib.Path, failpoint: str, done: bool
) -> None:
    data, again = tmp_path / "data", str(uuid.uuid4())
    with _server(servers, data, failpoint) as (pusher, server):
        with pytest.raises(grpc.RpcError):
            pusher.stub.UploadFile(_messages(again), metadata=pusher.metadata)
        assert server.wait() == KILLED
    with _server(servers, data) as (pusher, _):
        assert not list(data.glob("ingest/*/*.open"))
        (upload,) = pusher.stub.ListUploads(
            transfer_pb2.ListUploadsRequest(parent="namespaces/-"), metadata=pusher.metadata
        ).uploads
        wanted = transfer_pb2.UPLOAD_STATE_COMMITTED if done else transfer_pb2.UPLOAD_STATE_OPEN
        assert upload.state == wanted
        reply = pusher.stub.UploadFile(_messages(again), metadata=pusher.metadata)
        assert reply.upload.name == upload.name
        assert reply.version.name == f"{ARTIFACT}/versions/1"
        assert pusher.read(reply.version.name, "a.bin") == CONTENT
