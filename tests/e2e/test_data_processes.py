"""A server with data processes: real ones, used by the SDK, killed in the middle, and done without."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
import trustme

from helpers import loops
from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.pipelines import bearer
from helpers.processes import ServerProcess, run_server, server_process
from helpers.runners import alive
from helpers.servers import running_server
from helpers.transfers import Pusher, cut, header
from ingot.client import Client, TlsFiles
from ingot.client._data_lanes import LARGE
from ingot.server.data_processes import falls_silent
from ingot.v1 import system_pb2, transfer_pb2, transfer_pb2_grpc

pytestmark = pytest.mark.slow
MIB = 1024 * 1024
SIZE = LARGE + 32 * MIB
DATA = ("--data-listen", "127.0.0.1:0", "--data-listen", "127.0.0.1:0")


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("data") / "d"
    with server_process(data, *DATA) as server:
        yield server
    # Whatever the tests did to it: everything that was acknowledged is there, and nothing else.
    checked = run_server("doctor", "--deep", "--data", str(data))
    assert checked.status == 0, checked.output
    assert not [*(data / "ingest").glob("*/*")]


def _client(server: ServerProcess) -> Client:
    return Client(f"unix:{server.facts['socket']}", server.admin_token)


def _processes(server: ServerProcess) -> list[psutil.Process]:
    """Return the data processes that run now."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "ingot.server.data_process" in " ".join(child.cmdline()):
                found.append(child)
    return found


def _data_health(client: Client) -> tuple[int, str]:
    (part,) = (part for part in client.system.health().parts if part.name == "data")
    return part.status, part.message


def _file(folder: Path, seed: str) -> Path:
    folder.mkdir()
    with (folder / "big.bin").open("wb") as file:
        for index in range(0, SIZE, 32 * MIB):
            file.write(pattern(f"{seed} {index}", 32 * MIB))
    return folder / "big.bin"


def _moved_by(server: ServerProcess) -> list[int]:
    """Return the bytes of files that each data process has read and written."""
    counters = [process.io_counters() for process in _processes(server)]
    return [each.read_chars + each.write_chars for each in counters]


def _killed_meanwhile(server: ServerProcess, work: Callable[[], object], begun: Callable[[], bool]) -> int:
    """Kill a data process as soon as work has begun; return how many were killed before it was over."""
    killed = 0
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        eventually(lambda: begun() or working.done(), timeout=100, what="the transfer to begin")
        while not working.done() and killed < 3:
            for process in _processes(server)[:1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    killed += 1
            threading.Event().wait(0.2)
        working.result(100)
    return killed


def test_large_transfers_go_through_data_processes_and_small_ones_do_not(
    server: ServerProcess, tmp_path: Path
) -> None:
    source = _file(tmp_path / "in", "plain")
    (tmp_path / "small").write_bytes(pattern("small", MIB))
    with _client(server) as client:
        idle = _moved_by(server)
        client.push("datasets/small", tmp_path / "small")
        client.pull("datasets/small", tmp_path / "few")
        before = _moved_by(server)
        assert sum(before) - sum(idle) < MIB
        assert client.push("datasets/plain", source).sent_bytes == SIZE
        pushed = _moved_by(server)
        assert sum(pushed) - sum(before) > SIZE
        assert min(now - was for now, was in zip(pushed, before, strict=True)) > SIZE / 8
        client.pull("datasets/plain", tmp_path / "out")
        assert sum(_moved_by(server)) - sum(pushed) > SIZE
    assert (tmp_path / "out" / "big.bin").read_bytes() == source.read_bytes()


@pytest.mark.contract("S3-4")
def test_data_processes_killed_in_the_middle_cost_nothing_but_time(
    server: ServerProcess, tmp_path: Path
) -> None:
    source, rate = _file(tmp_path / "in", "killed"), 24 * MIB  # slow enough to be met in the middle
    with _client(server) as client, _client(server) as other:

        def stored() -> bool:
            return any(each.received_bytes > 0 for each in other.uploads.list(limit=1))

        def push() -> object:
            return client.push("datasets/killed", source, limit_rate=rate)

        def pull() -> object:
            return client.pull("datasets/killed", tmp_path / "out", limit_rate=rate)

        assert _data_health(client) == (system_pb2.HEALTH_STATUS_HEALTHY, "2 data processes serve")
        assert _killed_meanwhile(server, push, stored) > 0
        parts = tmp_path / "out" / ".ingot-pull"
        assert _killed_meanwhile(server, pull, lambda: parts.exists() and any(parts.iterdir())) > 0
    assert (tmp_path / "out" / "big.bin").read_bytes() == source.read_bytes()
    eventually(lambda: len(_processes(server)) == 2, timeout=100, what="both to be started again")
    with _client(server) as client:
        eventually(lambda: _data_health(client)[0] == system_pb2.HEALTH_STATUS_HEALTHY, timeout=100)


def test_health_tells_of_data_processes_that_do_not_serve(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, Client(server.address, server.admin_token) as client:
        assert "data" not in {part.name for part in client.system.health().parts}
        server.app.transfer.data_addresses.wanted = 1
        status, message = _data_health(client)
    assert status == system_pb2.HEALTH_STATUS_DEGRADED
    assert message.startswith("0 of 1 data processes serve")


def test_data_processes_end_with_the_server_however_it_ends(tmp_path: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        with server_process(tmp_path / "data", *DATA[:2]) as server:
            children = _processes(server)
            assert len(children) == 1
            server.stop(number)
            eventually(lambda: not alive(children[0].pid), what="its end")  # noqa: B023
    assert not [*(tmp_path / "data").glob("*.sock")]


@pytest.mark.contract("S3-4")
def test_one_that_hangs_is_started_afresh_and_frees_the_places_of_its_streams(tmp_path: Path) -> None:
    with running_server(tmp_path, data_listen=("127.0.0.1:0",)) as server:
        main = Pusher(server.member("sara").transfer, ())
        upload, data = main.begin("namespaces/sara/datasets/x"), pattern("hangs", 2 * MIB)
        file, places = cut(data), server.app.transfer.intake._slots._running
        hung = psutil.Process(server.app.data.pids[0])
        address = "127.0.0.1" + server.app.transfer.data_addresses.told(local=False)[0]
        with grpc.insecure_channel(address) as channel:
            stub = transfer_pb2_grpc.TransferServiceStub(channel)
            going_on = threading.Event()

            def messages() -> Iterator[transfer_pb2.PutChunksRequest]:
                yield header(upload, len(file.chunks), file.size)
                going_on.wait(100)

            call = stub.PutChunks.future(messages(), metadata=bearer(server.token("sara")))
            eventually(lambda: places.get("users/sara"), what="the stream")
            hung.suspend()
            server.app.data._turn_seconds = 0.1  # half a minute of silence is a second and a half
            eventually(lambda: not places, timeout=100, what="its place to be free")
            with pytest.raises(grpc.RpcError) as ended:
                call.result(100)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            going_on.set()
        server.app.data._turn_seconds = 2.0
        eventually(lambda: server.app.data.pids not in ([], [hung.pid]), timeout=100, what="another one")


def test_only_silence_is_taken_for_hanging() -> None:
    async def beats() -> None:
        lines = asyncio.StreamReader()

        async def beat() -> None:
            while True:
                lines.feed_data(b"\n")
                await asyncio.sleep(0)

        beating = asyncio.create_task(beat())
        with pytest.raises(TimeoutError):  # as long as it is listened
            await asyncio.wait_for(falls_silent(lines, lambda: 0.001), 0.3)
        beating.cancel()
        assert await falls_silent(lines, lambda: 0.001)
        lines.feed_eof()
        assert not await falls_silent(lines, lambda: 60.0)

    loops.run(beats())


@pytest.mark.contract("S3-4")
def test_one_that_is_started_again_writes_with_no_key_that_the_server_lacks(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    keys.write_text("11" * 32 + "\n")
    with server_process(tmp_path / "data", *DATA[:2], "--encryption-key-file", str(keys)) as server:
        log = tmp_path / "data" / "logs" / "server.log"
        keys.write_text("22" * 32 + "\n" + "11" * 32 + "\n")  # for the next start of the server
        _processes(server)[0].kill()
        told = "encryption_key_file has changed since the server started"
        eventually(lambda: told in log.read_text(), timeout=100, what="the log to say why it does not serve")
        with _client(server) as client:
            assert _data_health(client)[0] == system_pb2.HEALTH_STATUS_DEGRADED
        assert not [*(tmp_path / "data" / "ingest").glob("data*")]
        keys.write_text("11" * 32 + "\n")
        eventually(lambda: len(_processes(server)) == 1, timeout=100, what="it to serve again")
        server.stop()


def test_an_address_that_is_taken_is_one_sentence(server: ServerProcess, tmp_path: Path) -> None:
    taken = server.address
    ended = run_server(
        "serve", "--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0", "--data-listen", taken
    )
    assert ended.status == 1
    assert f"error: data_listen: Port {taken.rpartition(':')[2]} is taken" in ended.errors
    assert "Traceback" not in ended.errors


@pytest.mark.contract("S0-98")
def test_over_tls_data_processes_are_found_at_their_ports(tmp_path: Path) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    certificate, key, trusted = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(trusted))
    source = _file(tmp_path / "in", "tls")
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with server_process(tmp_path / "data", *DATA[:2], *tls) as server:
        before = _moved_by(server)
        files = TlsFiles(ca_file=str(trusted))
        with Client(f"https://{server.address}", server.admin_token, tls=files) as client:
            client.push("datasets/tls", source)
            client.pull("datasets/tls", tmp_path / "out")
        assert sum(_moved_by(server)) - sum(before) > 2 * SIZE
        assert (tmp_path / "out" / "big.bin").read_bytes() == source.read_bytes()


def test_who_cannot_reach_data_processes_does_without(tmp_path: Path) -> None:
    source = _file(tmp_path / "in", "alone")
    with running_server(tmp_path) as server:
        # Where its own socket is, since a path of one has at most 107 characters.
        told, folder = server.app.transfer.data_addresses, server.app.unix_socket.parent
        told.began(1, "1", str(folder / "nobody.sock"))
        told.began(2, "1", str(folder / "else.sock"))
        with _somebody_else(folder / "else.sock"), Client(server.address, server.admin_token) as client:
            assert len(client.uploads.capabilities().data_addresses) == 2
            assert client.push("datasets/alone", source).sent_bytes == SIZE
            client.pull("datasets/alone", tmp_path / "out")
    assert (tmp_path / "out" / "big.bin").read_bytes() == source.read_bytes()


@contextlib.contextmanager
def _somebody_else(socket: Path) -> Iterator[None]:
    """Serve gRPC there with no method that is asked for."""
    other = grpc.server(ThreadPoolExecutor(1))
    other.add_insecure_port(f"unix:{socket}")
    other.start()
    yield
    other.stop(0).wait(100)
