"""The server is restarted while twenty clients push and pull: each goes on by itself, and nothing is lost.

SIGTERM drains: what runs may finish, what comes is told to come again. A second one ends the drain at once,
which is no worse than a kill. Clients that had reached the server before wait until it is back.
"""

import contextlib
import os
import pathlib
import signal
import threading
from collections.abc import Iterator
from concurrent import futures

import pytest

from helpers.eventually import eventually
from helpers.forked_servers import ForkedServer, ForkedServers
from helpers.patterns import pattern
from helpers.sdk import tree_of, write_tree
from ingot.client import Client
from ingot.server import cli

pytestmark = pytest.mark.slow

CLIENTS = 20
EACH = 60_000  # bytes of a file
ENDED = (0, 130)  # drained, or told twice


@pytest.fixture(name="servers")
def _servers(tmp_path: pathlib.Path) -> Iterator[ForkedServers]:
    servers = ForkedServers(tmp_path / "errors")
    with contextlib.closing(servers):
        yield servers


class Load:
    """Clients that push something new, pull it and compare it, again and again, until told to stop."""

    def __init__(self, server: ForkedServer, folder: pathlib.Path) -> None:
        self.pushed: dict[str, dict[str, bytes]] = {}  # what was acknowledged, by the name of its version
        self._address, self._folder = f"unix:{server.facts['socket']}", folder
        self._over = threading.Event()
        self._threads = futures.ThreadPoolExecutor(CLIENTS)
        token = server.admin_token
        self._running = [self._threads.submit(self._work, number, token) for number in range(CLIENTS)]

    def wait_for(self, more: int) -> None:
        """Wait until so many more pushes and pulls are done, or one client gave up."""
        wanted = len(self.pushed) + more

        def done() -> bool:
            for each in self._running:
                if each.done():
                    each.result()
            return len(self.pushed) >= wanted

        eventually(done, timeout=100, what=f"{more} more pushes")

    def finish(self) -> None:
        """Let every client end what it does; raises what one of them met."""
        self._over.set()
        for each in self._running:
            each.result(timeout=100)
        self._threads.shutdown()

    def _work(self, number: int, token: str) -> None:
        with Client(self._address, token, user="ada") as client:
            turn = 0
            while not self._over.is_set():
                turn += 1
                name = f"{number}-{turn}"
                files = {"a.bin": pattern(f"a {name}", EACH), "b.txt": name.encode()}
                source = write_tree(self._folder / f"from-{name}", files)
                pushed = client.push(f"datasets/load{number}", source).name
                client.pull(pushed, self._folder / f"to-{name}")
                assert tree_of(self._folder / f"to-{name}") == files, name
                self.pushed[pushed] = files


def restart(servers: ForkedServers, server: ForkedServer, data: pathlib.Path, *, twice: bool) -> ForkedServer:
    """Tell the server to end, and start another one."""
    process = int(str(server.facts["pid"]))
    os.kill(process, signal.SIGTERM)
    if twice:
        with contextlib.suppress(ProcessLookupError):  # it was quick
            os.kill(process, signal.SIGTERM)
    assert server.wait() in ENDED
    return ForkedServer(servers.start(data), data, servers)


@pytest.mark.parametrize(
    "restarts",
    [1, pytest.param(10, marks=[pytest.mark.long, pytest.mark.timeout(1800)])],
)
@pytest.mark.contract("S3-53", "S3-60")
def test_clients_go_on_when_the_server_is_back(
    servers: ForkedServers, tmp_path: pathlib.Path, restarts: int
) -> None:
    data = tmp_path / "data"
    server = ForkedServer(servers.start(data), data, servers)
    load = Load(server, tmp_path)
    for turn in range(restarts):
        load.wait_for(CLIENTS // 4)
        server = restart(servers, server, data, twice=turn % 2 == 1)
    load.wait_for(CLIENTS // 4)
    load.finish()
    with Client(f"unix:{server.facts['socket']}", server.admin_token, user="ada") as client:
        for name, files in load.pushed.items():
            assert b"".join(client.read(f"{name}:a.bin")) == files["a.bin"], name
    assert server.stop() == 0
    assert cli.main(["doctor", "--deep", "--data", str(data)]) == 0
