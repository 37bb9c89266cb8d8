"""SDK clients for tests: over a transfer rig, and through a proxy that cuts connections."""

import contextlib
import pathlib
import socket
import threading
from collections.abc import Iterator

import grpc

from helpers.transfers import TransferRig, transfer_rig
from ingot.client import Client, Endpoint
from ingot.client._channels import Link, link_to
from ingot.server.core.uploads import TransferLimits


@contextlib.contextmanager
def transfer_client(limits: TransferLimits | None = None) -> Iterator[tuple[Client, TransferRig]]:
    """Give a member's client and the server behind it for the length of a with block."""
    with transfer_rig(limits) as rig:
        yield client_over(rig.channel), rig


def client_over(channel: grpc.Channel, token: str = "member") -> Client:
    """Return a client that uses one channel for everything."""
    link = Link(Endpoint("unix:test", token=token), lambda: channel)
    return Client(link=link, namespace=token, user="ada")


@contextlib.contextmanager
def cut_connection(rig: TransferRig, after: list[int]) -> Iterator[Client]:
    """Give a member's client whose connections all break each time the next number of bytes has passed."""
    proxy = _Proxy(str(rig.folder / "s"), list(after))
    try:
        endpoint = Endpoint(f"127.0.0.1:{proxy.port}", token="member")
        with link_to(endpoint) as link:
            yield Client(link=link, namespace="member", user="ada")
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
