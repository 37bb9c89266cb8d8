"""A disk that takes no more bytes while the server runs: it says so, goes on reading, and needs no restart.

The limit for the size of files is set to 0 from outside (`prlimit`): from then on the system refuses every
write of the server to a file, of Python and of SQLite alike, as a disk does that the kernel made read-only.
"""

import os
import pathlib
import resource
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from helpers.eventually import eventually
from helpers.processes import ServerProcess, server_process
from helpers.sdk import write_tree
from helpers.transfers import Pusher
from ingot.client import Client
from ingot.v1 import system_pb2, transfer_pb2_grpc

pytestmark = pytest.mark.slow

BEFORE, AFTER = os.urandom(300_000), os.urandom(300_000)


@pytest.fixture(name="server")
def _server(tmp_path: pathlib.Path) -> Iterator[ServerProcess]:
    with server_process(tmp_path / "data") as server:
        yield server
        assert server.stop().status == 0


def health_of(client: Client) -> dict[str, str]:
    """Return what the parts say that are not well."""
    return {
        part.name: part.message
        for part in client.system.health().parts
        if part.status != system_pb2.HEALTH_STATUS_HEALTHY
    }


@pytest.mark.contract("S3-58", "S3-60")
@pytest.mark.parametrize("limit", [0, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_disk_that_cannot_be_written_is_told_and_used_again_when_it_can(
    server: ServerProcess, tmp_path: pathlib.Path, limit: int
) -> None:
    """The limit is at the first byte of a file, or in the middle of a pack and of the database's log."""
    source = write_tree(tmp_path / "source", {"a.bin": BEFORE})
    with (
        Client(server.address, server.admin_token, user="ada") as client,
        grpc.insecure_channel(server.address) as channel,
        futures.ThreadPoolExecutor(1) as thread,
    ):
        client.push("datasets/chat", source)
        eventually(lambda: not health_of(client))  # also where the disk is busy for a moment
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        metadata = (("authorization", f"Bearer {server.admin_token}"),)
        pusher = Pusher(transfer_pb2_grpc.TransferServiceStub(channel), metadata)
        with pytest.raises(grpc.RpcError, match=r"disk takes nothing for ingot.db") as caught:
            pusher.begin("namespaces/admin/datasets/chat")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "disk" in health_of(client)["writer"]
        assert b"".join(client.read("datasets/chat:a.bin")) == BEFORE
        write_tree(source, {"a.bin": AFTER})
        pushing = thread.submit(client.push, "datasets/chat", source)
        with pytest.raises(futures.TimeoutError):  # it tries again for some time
            pushing.result(1)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert pushing.result(100).sent_bytes == len(AFTER)
        eventually(lambda: not health_of(client))
        assert b"".join(client.read("datasets/chat:a.bin")) == AFTER
