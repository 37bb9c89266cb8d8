"""A real HTTP server on loopback that serves files, well or badly, over raw sockets.

    with url_server() as server:
        url = server.serve("/data.jsonl", File(b"...", etag='"1"'))
        server.serve("/late", Stalled(b"...", after=10))      # silent until the end of the block
        server.serve("/shaky", in_turn(Cut(content, after=1000), File(content)))
        assert server.asked[0].headers["range"] == "bytes=1000-"

A behaviour is what happens to one request; every request is noted in `asked`.
"""

import contextlib
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Behaviour = Callable[["Exchange"], None]

PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; the names of the headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def start(self) -> int | None:
        """First byte of the range that is asked for."""
        found = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("range", ""))
        return int(found[1]) if found else None


class Exchange:
    """One request and the socket for its answer."""

    def __init__(self, server: "UrlServer", asked: Asked, connection: socket.socket) -> None:
        self.server, self.asked, self._connection = server, asked, connection

    def head(self, status: int, headers: Mapping[str, str | int] | None = None) -> None:
        """Send status line and headers."""
        lines = [
            f"HTTP/1.1 {status} Told",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> None:
        """Send bytes of the body."""
        self._connection.sendall(data)

    def hang_up(self) -> None:
        """Close the connection in the middle."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        """Stay silent until the server is closed."""
        self.server.closing.wait()


class UrlServer:
    """The server: what it serves, and what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._behaviours: dict[str, Behaviour] = {}
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.handle(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

        self.listener = Server(("127.0.0.1", 0), Handler)
        self.port: int = self.listener.server_address[1]
        self._tls = tls
        threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, target: str, host: str = "127.0.0.1") -> str:
        """Return the address of a target."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{target}"

    def serve(self, target: str, behaviour: Behaviour) -> str:
        """Answer requests for a target, without its query, in this way; return its address."""
        self._behaviours[target] = behaviour
        return self.url(target)

    def close(self) -> None:
        """Stop it, and release whoever is held."""
        self.closing.set()
        self.listener.shutdown()
        self.listener.server_close()

    def handle(self, connection: socket.socket) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection.getpeername()  # one that was reset already is never closed by wrap_socket
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as lines:
                while asked := _read(lines):
                    self.asked.append(asked)
                    behaviour = self._behaviours.get(asked.target.partition("?")[0], Status(404))
                    behaviour(Exchange(self, asked, connection))


def _read(lines: Iterator[bytes]) -> Asked | None:
    first = next(lines, b"").decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            break
        headers[name.lower()] = value.strip()
    return Asked(first[0], first[1], headers)


@contextlib.contextmanager
def url_server(tls: ssl.SSLContext | None = None) -> Iterator[UrlServer]:
    """Run a server for the length of a with block."""
    server = UrlServer(tls)
    try:
        yield server
    finally:
        server.close()


# --- behaviours ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A file as a good server serves it: with ranges, If-Range and a validator where it has one."""

    content: bytes
    etag: str = ""
    last_modified: str = ""
    ranges: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, exchange: Exchange) -> None:
        """Answer."""
        self.answer(exchange)

    def answer(self, exchange: Exchange) -> None:
        """Send head and body."""
        start = self.begin(exchange)
        if start is not None:
            exchange.send(self.content[start:])

    def begin(self, exchange: Exchange) -> int | None:
        """Send the head; return from where the body goes, None when there is none."""
        told: dict[str, str | int] = {**self.headers}
        told |= {
            name: value
            for name, value in (("ETag", self.etag), ("Last-Modified", self.last_modified))
            if value
        }
        start, size = exchange.asked.start, len(self.content)
        condition = exchange.asked.headers.get("if-range", "")
        if (
            not self.ranges
            or start is None
            or (condition and condition not in (self.etag, self.last_modified))
        ):
            exchange.head(200, {"Content-Length": size, **told})
            return 0
        if start >= size:
            exchange.head(416, {"Content-Range": f"bytes */{size}", "Content-Length": 0, **told})
            return None
        length = size - start
        exchange.head(
            206, {"Content-Range": f"bytes {start}-{size - 1}/{size}", "Content-Length": length, **told}
        )
        return start


@dataclass(frozen=True, slots=True)
class Cut(File):
    """Breaks off after so many bytes of the file."""

    after: int = 0

    def answer(self, exchange: Exchange) -> None:
        """Send too little."""
        start = self.begin(exchange)
        if start is not None:
            exchange.send(self.content[start : max(start, self.after)])
        exchange.hang_up()


@dataclass(frozen=True, slots=True)
class Stalled(File):
    """Goes silent after so many bytes of the file."""

    after: int = 0

    def answer(self, exchange: Exchange) -> None:
        """Send too little and keep the connection."""
        start = self.begin(exchange)
        if start is not None:
            exchange.send(self.content[start : max(start, self.after)])
        exchange.hold()


@dataclass(frozen=True, slots=True)
class Paused(File):
    """Stops after so many bytes of the file until somebody lets it go on."""

    after: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    def answer(self, exchange: Exchange) -> None:
        """Send all of it, in two parts."""
        start = self.begin(exchange) or 0
        exchange.send(self.content[start : self.after])
        self.go_on.wait()
        exchange.send(self.content[max(start, self.after) :])


@dataclass(frozen=True, slots=True)
class Unsized(File):
    """Does not tell how long the body is: it ends with the connection, after so many bytes."""

    after: int | None = None

    def answer(self, exchange: Exchange) -> None:
        """Send a body without a length."""
        exchange.head(200, {**self.headers, "Connection": "close"})
        exchange.send(self.content[: self.after])
        exchange.hang_up()


@dataclass(frozen=True, slots=True)
class Endless:
    """Sends for ever, in chunks."""

    def __call__(self, exchange: Exchange) -> None:
        """Send until nobody listens."""
        exchange.head(200, {"Transfer-Encoding": "chunked"})
        piece = b"%x\r\n" % PIECE + b"x" * PIECE + b"\r\n"
        while not exchange.server.closing.is_set():
            exchange.send(piece)


@dataclass(frozen=True, slots=True)
class Dripping(File):
    """Sends a byte at a time, with a pause after each."""

    pause: float = 0.02

    def answer(self, exchange: Exchange) -> None:
        """Send slowly."""
        start = self.begin(exchange) or 0
        for place in range(start, len(self.content)):
            exchange.send(self.content[place : place + 1])
            if exchange.server.closing.wait(self.pause):
                return


@dataclass(frozen=True, slots=True)
class WrongRange(File):
    """Sends the first bytes under the name of whatever range was asked for."""

    def answer(self, exchange: Exchange) -> None:
        """Send another range than the one asked for."""
        size = len(self.content)
        if exchange.asked.start is None:
            exchange.head(200, {"Content-Length": size})
        else:
            exchange.head(206, {"Content-Range": f"bytes 0-{size - 1}/{size}", "Content-Length": size})
        exchange.send(self.content)


@dataclass(frozen=True, slots=True)
class Status:
    """A status and nothing else."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, exchange: Exchange) -> None:
        """Answer."""
        exchange.head(self.status, {"Content-Length": 0, **self.headers})


def redirect(to: str, status: int = 302) -> Behaviour:
    """Return the behaviour that sends elsewhere."""
    return Status(status, {"Location": to})


@dataclass(frozen=True, slots=True)
class Guarded:
    """Wants a token."""

    token: str
    inner: Behaviour

    def __call__(self, exchange: Exchange) -> None:
        """Answer whoever has it."""
        if exchange.asked.headers.get("authorization") == f"Bearer {self.token}":
            self.inner(exchange)
        else:
            Status(401)(exchange)


@dataclass(frozen=True, slots=True)
class Raw:
    """Sends these bytes instead of an answer, and hangs up."""

    data: bytes

    def __call__(self, exchange: Exchange) -> None:
        """Answer."""
        exchange.send(self.data)
        exchange.hang_up()


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Return the behaviour that is each of these for one request; the last one stays."""
    left = list(behaviours)

    def answer(exchange: Exchange) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return answer


def silent(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.hold()
