"""`serve --with-worker`: one command gives a server with a worker, and the worker never outlives it."""

import os
import re
import signal
from pathlib import Path

import grpc
import pytest

from helpers.eventually import eventually
from helpers.processes import ServerProcess, server_process
from ingot.v1 import workers_pb2, workers_pb2_grpc

pytestmark = pytest.mark.slow


def _workers(server: ServerProcess) -> list[workers_pb2.Worker]:
    metadata = (("authorization", f"Bearer {server.admin_token}"),)
    with grpc.insecure_channel(server.address) as channel:
        stub = workers_pb2_grpc.WorkersServiceStub(channel)
        return list(
            stub.ListWorkers(workers_pb2.ListWorkersRequest(), metadata=metadata, timeout=100).workers
        )


def _pid(server: ServerProcess) -> int:
    """Return the process id of the worker, from the log."""
    log = (server.data / "logs" / "server.log").read_text()
    return int(re.findall(r"worker\.started pid=(\d+)", log)[-1])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_registers_by_itself_and_ends_with_the_server(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", "--with-worker") as server:
        (worker,) = eventually(lambda: _workers(server), timeout=100)
        assert worker.state == workers_pb2.WORKER_STATE_ONLINE
        pid = _pid(server)
        assert _alive(pid)
        token = (tmp_path / "data" / "worker.token").read_text().strip()
        ended = server.stop(timeout=90)
        assert ended.status == 0
        assert not _alive(pid)
    logs = [path.read_text() for path in (tmp_path / "data" / "logs").iterdir()]
    assert token not in "".join(logs) + ended.errors


def test_it_ends_when_the_server_is_killed(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", "--with-worker") as server:
        eventually(lambda: _workers(server), timeout=100)
        pid = _pid(server)
        server.stop(signal.SIGKILL)
        eventually(lambda: not _alive(pid), timeout=100)


def test_its_token_of_the_last_run_is_refused(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        with server_process(tmp_path / "data", "--with-worker") as server:
            eventually(lambda: _workers(server), timeout=100)
            tokens.append((tmp_path / "data" / "worker.token").read_text().strip())
            if len(tokens) == 2:
                metadata = (("authorization", f"Bearer {tokens[0]}"),)
                with grpc.insecure_channel(server.address) as channel:
                    stub = workers_pb2_grpc.WorkersServiceStub(channel)
                    with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                        stub.ClaimWork(workers_pb2.ClaimWorkRequest(), metadata=metadata, timeout=100)
            server.stop(timeout=90)
    assert tokens[0] != tokens[1]


def test_a_worker_that_dies_is_told_and_the_server_goes_on(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", "--with-worker") as server:
        eventually(lambda: _workers(server), timeout=100)
        os.kill(_pid(server), signal.SIGKILL)
        log = tmp_path / "data" / "logs" / "server.log"
        eventually(lambda: "worker.ended" in log.read_text())
        assert _workers(server)
        assert server.stop().status == 0
