"""The server is killed while it runs an operation: the row survives, the body does not, and it goes on."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import duration_pb2

from helpers.eventually import eventually
from helpers.forked_servers import KILLED, ForkedServer, ForkedServers
from ingot.v1 import errors_pb2, operations_pb2, operations_pb2_grpc, transfer_pb2

pytestmark = pytest.mark.slow

pb = operations_pb2
FLAGS = ("--import-private-networks", "127.0.0.0/8")
ENDED = (pb.OPERATION_STATE_SUCCEEDED, pb.OPERATION_STATE_FAILED, pb.OPERATION_STATE_CANCELLED)


class Caller:
    """The administrator's stub."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self.stub = operations_pb2_grpc.OperationsServiceStub(channel)
        self.metadata = (("authorization", f"Bearer {token}"),)

    def start(self, attempts: int) -> None:
        """Start an import; the server may be dead before its answer comes."""
        source = pb.UrlSource(files=[pb.UrlFile(urls=["http://127.0.0.1:9/away.bin"])])
        policy = pb.RetryPolicy(max_attempts=attempts, delay=duration_pb2.Duration(), multiplier=1.0)
        request = pb.StartImportRequest(
            urls=source,
            target=transfer_pb2.NewVersion(artifact="namespaces/admin/models/tiny"),
            options=pb.OperationOptions(retry_policy=policy),
        )
        with contextlib.suppress(grpc.RpcError):
            self.stub.StartImport(request, metadata=self.metadata)

    def started(self) -> str:
        """Return the name of the only import."""
        request = pb.ListOperationsRequest(kind="import")
        (found,) = self.stub.ListOperations(request, metadata=self.metadata).operations
        return found.name

    def get(self, name: str) -> operations_pb2.Operation:
        """Return an operation."""
        return self.stub.GetOperation(pb.GetOperationRequest(name=name), metadata=self.metadata).operation

    def ended(self, name: str) -> operations_pb2.Operation:
        """Wait until an operation has ended."""

        def look() -> operations_pb2.Operation | None:
            found = self.get(name)
            assert found.state in ENDED, found
            return found

        found = eventually(look, timeout=100, what=f"the end of {name}")
        assert found is not None
        return found


@contextlib.contextmanager
def _server(
    servers: ForkedServers, data: pathlib.Path, failpoint: str = ""
) -> Iterator[tuple[Caller, ForkedServer]]:
    with (
        servers.serving(data, failpoint, FLAGS) as server,
        grpc.insecure_channel(f"unix:{server.facts['socket']}") as channel,
    ):
        yield Caller(channel, server.admin_token), server


def _bodies(data: pathlib.Path) -> list[str]:
    """Return the processes that work in a folder of an operation."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(data / "staging") in os.readlink(process / "cwd"):
                found.append(process.name)
    return found


@pytest.mark.contract("S4-30", "S4-26")
def test_an_operation_goes_on_after_the_server_was_killed(
    servers: ForkedServers, tmp_path: pathlib.Path
) -> None:
    data = tmp_path / "data"
    with _server(servers, data, "body.started") as (caller, server):
        caller.start(attempts=2)
        assert server.wait() == KILLED
    eventually(lambda: not _bodies(data), what="no body of the killed server being left")
    with _server(servers, data) as (caller, _):
        ended = caller.ended(caller.started())
        assert ended.attempt == 2
        assert ended.problem.reason != errors_pb2.ERROR_REASON_BODY_LOST, ended


def test_what_kills_the_server_each_time_ends_failed_and_not_in_a_loop(
    servers: ForkedServers, tmp_path: pathlib.Path
) -> None:
    data = tmp_path / "data"
    with _server(servers, data, "body.started") as (caller, server):
        caller.start(attempts=2)
        assert server.wait() == KILLED
    again = servers.start(data, "body.started", FLAGS)
    assert (again if "ended" in again else servers.answer()) == {"ended": KILLED}
    with _server(servers, data) as (caller, _):
        ended = caller.ended(caller.started())
    assert (ended.state, ended.attempt) == (pb.OPERATION_STATE_FAILED, 2)
    assert ended.problem.reason == errors_pb2.ERROR_REASON_BODY_LOST
