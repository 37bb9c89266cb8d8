"""The program `ingot-server` as people run it: what it says, where it may not start, and how it ends."""

import json
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.eventually import eventually
from helpers.processes import SERVER, run_server, server_process
from ingot.v1 import system_pb2, system_pb2_grpc, transfer_pb2, transfer_pb2_grpc

pytestmark = pytest.mark.slow
HEALTH = system_pb2.GetHealthRequest()


def _health(address: str, token: str = "") -> system_pb2.GetHealthResponse:
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address) as channel:
        return system_pb2_grpc.SystemServiceStub(channel).GetHealth(HEALTH, metadata=metadata, timeout=100)


def _well(address: str, token: str = "") -> system_pb2.GetHealthResponse:
    """Return the health once all is well: a disk that is busy with others keeps a write waiting."""

    def look() -> system_pb2.GetHealthResponse | None:
        found = _health(address, token)
        return found if found.status == system_pb2.HEALTH_STATUS_HEALTHY else None

    found = eventually(look, what="a server that is well")
    assert found is not None
    return found


@pytest.mark.contract("S0-113")
def test_one_command_serves_on_tcp_and_on_its_socket(tmp_path: Path) -> None:
    with server_process(tmp_path / "data") as server:
        token = server.admin_token
        over_tcp = _well(server.address, token)
        _well(f"unix:{server.facts['socket']}", token)
        assert over_tcp.mount_point == str(tmp_path / "data")
        written = json.loads((tmp_path / "data" / "server.json").read_text())
        assert written["pid"] == server.process.pid
        assert written["listen"] == [server.address]
        ended = server.stop()
    assert (ended.status, ended.output) == (0, "")
    assert not (tmp_path / "data" / "server.json").exists()
    assert not (tmp_path / "data" / "server.sock").exists()
    assert token not in ended.errors
    assert stat.S_IMODE((tmp_path / "data" / "admin.token").stat().st_mode) == 0o600


@pytest.mark.contract("S0-113")
def test_a_person_is_told_the_address_the_folder_and_what_to_do_next(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    command = [str(SERVER), "serve", "--data", data, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = ""
        while "GetHealth" not in said:
            line = process.stdout.readline()
            assert line, "the server ended before it was ready"
            said += line
        address = json.loads((tmp_path / "data" / "server.json").read_text())["listen"][0]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=100)
    assert "is ready. Ctrl-C stops it." in said
    for word in (address, data, f"ingot ls --server {address}"):
        assert word in said
    assert (tmp_path / "data" / "admin.token").read_text().strip() not in said + rest
    assert process.returncode == 0
    assert "Ctrl-C again leaves at once" in rest


@pytest.mark.contract("S1-21", "S1-22", "S0-106")
def test_variables_of_source_systems_choose_folder_and_database(tmp_path: Path) -> None:
    environment = {
        "UPLOAD_DIR": str(tmp_path / "uploads"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'meta.db'}",
        "PORT": "0",
    }
    done = run_server("migrate", environment=environment)
    assert (done.status, done.errors) == (0, "")
    assert "applied 0001_identity" in done.output
    assert (tmp_path / "meta.db").exists()
    assert (tmp_path / "uploads" / "server_id").exists()
    assert run_server("migrate", environment=environment).output.startswith("nothing to do")


@pytest.mark.contract("S2-48")
def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_server("serve", "--data", str(tmp_path / "data"), "--listen", f"127.0.0.1:{port}")
    assert done.status == 1
    assert f"error: Port {port} is taken" in done.errors
    assert "--listen" in done.errors
    assert "Traceback" not in done.errors
    assert not (tmp_path / "data").exists()


@pytest.mark.contract("S2-48")
def test_a_second_server_on_the_folder_is_one_sentence(tmp_path: Path) -> None:
    """Of the folder, not of the port, also when it is the same command once more."""
    with server_process(tmp_path / "data") as server:
        for address in ("127.0.0.1:0", server.address):
            done = run_server("serve", "--data", str(tmp_path / "data"), "--listen", address)
            assert done.status == 1
            assert f"process {server.process.pid} at {server.address} serves it already" in done.errors
            assert "Traceback" not in done.errors
        _well(server.address)


@pytest.mark.contract("S2-48")
@pytest.mark.parametrize("place", ["file/data", "/proc/ingot-data"])
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    data = str(tmp_path / place)
    done = run_server("serve", "--data", data, "--listen", "127.0.0.1:0")
    assert done.status == 1
    assert done.errors.startswith(f"error: The data folder {data} cannot be used: ")
    assert done.errors.count("\n") == 1


@pytest.mark.contract("S2-48")
def test_a_missing_package_is_named_with_what_to_install(tmp_path: Path) -> None:
    """As in an environment where only the bare client was installed."""
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'peewee':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    words = ("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    done = run_server(*words, environment={"PYTHONPATH": str(tmp_path)})
    assert done.status == 1
    assert "needs the Python package peewee" in done.errors
    assert "pip install 'ingot[server]'" in done.errors
    assert "Traceback" not in done.errors


def test_an_address_other_machines_reach_needs_an_explicit_word(tmp_path: Path) -> None:
    done = run_server("serve", "--data", str(tmp_path / "data"), "--listen", "0.0.0.0:0")
    assert done.status == 2
    assert "--insecure" in done.errors
    assert not (tmp_path / "data").exists()


def test_a_database_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    done = run_server(
        *("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"),
        *("--database-url", "postgresql://localhost/ingot"),
    )
    assert done.status == 1
    assert "expected sqlite:///" in done.errors
    assert "Traceback" not in done.errors


@pytest.mark.contract("S0-111")
def test_events_are_in_the_log_folder_and_tokens_are_not(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", "--log-level", "debug") as server:
        token = server.admin_token
        _health(server.address, token)
        ended = server.stop()
    log = (tmp_path / "data" / "logs" / "server.log").read_text()
    assert "server.started addresses=127.0.0.1:" in log
    assert "rpc.done method=SystemService/GetHealth code=OK" in log
    assert "server.stopped" in log
    assert token not in log + ended.errors
    assert token.split("_")[-1] not in log + ended.errors


def test_a_killed_server_can_be_started_again_at_once(tmp_path: Path) -> None:
    with server_process(tmp_path / "data") as first:
        token = first.admin_token
        first.stop(signal.SIGKILL)
    with server_process(tmp_path / "data") as second:
        assert second.admin_token == token
        assert _health(second.address, token).mount_point == str(tmp_path / "data")


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    never = threading.Event()

    def pieces() -> Iterator[transfer_pb2.PutChunksRequest]:
        never.wait()
        yield transfer_pb2.PutChunksRequest()

    arguments = ("--drain-seconds", "600", "--log-level", "debug")
    with (
        server_process(tmp_path / "data", *arguments) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = transfer_pb2_grpc.TransferServiceStub(channel)
        metadata = (("authorization", f"Bearer {server.admin_token}"),)
        call = stub.PutChunks.future(pieces(), metadata=metadata)
        eventually(lambda: "rpc.begun method=TransferService/PutChunks" in _log(tmp_path))
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: "server.draining" in _log(tmp_path))
        assert server.stop(signal.SIGINT, timeout=100).status == 130
        never.set()
        assert isinstance(call.exception(100), grpc.RpcError)


def _log(folder: Path) -> str:
    return (folder / "data" / "logs" / "server.log").read_text()


def test_the_settings_in_effect_are_printed_as_a_file_that_gives_them_again(tmp_path: Path) -> None:
    arguments = ("--io-threads", "3", "--data", str(tmp_path / "data"))
    first = run_server("settings", *arguments, environment={"INGOT_LOG_LEVEL": "error"})
    assert "io_threads = 3\n" in first.output
    assert 'log_level = "error"\n' in first.output
    (tmp_path / "ingot.toml").write_text(first.output)
    assert run_server("settings", "--config", str(tmp_path / "ingot.toml")).output == first.output
