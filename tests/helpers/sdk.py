"""SDK clients for tests: of a member of a whole server, and through a proxy that cuts connections."""

import contextlib
import pathlib
import socket
import tempfile
import threading
from collections.abc import Iterator

import grpc

from helpers.servers import Server, running_server
from ingot.client import Client, Endpoint
from ingot.client._channels import Link


@contextlib.contextmanager
def member_client() -> Iterator[tuple[Client, Server]]:
    """Give the client of the member `member` and the server behind it for the length of a with block."""
    with (
        tempfile.TemporaryDirectory(prefix="ingot-test-") as folder,
        running_server(pathlib.Path(folder)) as server,
        Client(server.address, server.token("member"), user="ada") as client,
    ):
        yield client, server


def client_over(channel: grpc.Channel, token: str = "member") -> Client:
    """Return a client that uses one channel for everything."""
    link = Link(Endpoint("unix:test", token=token), lambda _: channel)
    return Client(link=link, namespace=token, user="ada")


@contextlib.contextmanager
def cut_connection(server: Server, after: list[int]) -> Iterator[Client]:
    """Give a member's client whose connections all break each time the next number of bytes has passed."""
    proxy = _Proxy(server.address.removeprefix("unix:"), list(after))
    try:
        address = f"127.0.0.1:{proxy.port}"
        with Client(address, server.token("member"), namespace="member", user="ada") as client:
            yield client
            assert proxy.after == [], "the connection was not cut as often as the test wanted"
    finally:
        proxy.close()


class _Proxy:
    """Passes bytes between TCP connections and a unix socket."""

    def __init__(self, target: str, after: list[int]) -> None:
        self.after = after
        self._target = target
        self._passed = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                with self._lock:
                    self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(256 * 1024):
                sink.sendall(data)
                self._count(len(data))
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int) -> None:
        with self._lock:
            self._passed += size
            cut = bool(self.after) and self._passed >= self.after[0]
            if cut:
                self._passed = 0
                self.after.pop(0)
        if cut:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            victims, self._open = self._open, []
        for victim in victims:
            with contextlib.suppress(OSError):
                victim.shutdown(socket.SHUT_RDWR)
            victim.close()


def tree_of(folder: pathlib.Path) -> dict[str, bytes]:
    """Return the content of every file below a folder by its path."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def write_tree(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    """Write files below a folder and return it."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder
