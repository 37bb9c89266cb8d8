"""Connections that go only where `Addresses` allows, and that no silent or slow server can hold up.

`CheckedBackend` is what the HTTP library opens its connections with. It looks a name up once and connects to
one of the addresses that it has just checked; there is no second look-up that could answer differently. TLS
still asks for and checks the certificate of the name.

A read waits in short slices, so that whoever waits can be told to stop, and gives up when

    the answer        has not begun within `stall_seconds`, or after _MOST_HEADERS
    the body          brought no byte for `stall_seconds`, or in as many seconds of waiting less than
                      `min_bytes_per_second`; time in which we do not read does not count
"""

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import httpcore2
from httpcore2 import SOCKET_OPTION

from ingot.server.sources.addresses import Addresses

CONNECT_SECONDS = 15.0  # for one address
_SLICE_SECONDS = 0.25
_MOST_HEADERS = 1024 * 1024  # bytes of an answer before its body


class Attention(Protocol):
    """Who waits for the fetching; both raise when it shall stop."""

    def check(self) -> None:
        """Raise when somebody asked to stop."""
        ...

    def wait(self, seconds: float) -> None:
        """Pause; raise as soon as somebody asks to stop."""
        ...


class Stalled(httpcore2.ReadTimeout):
    """No byte came for too long."""


class Slow(httpcore2.ReadTimeout):
    """Bytes came, but too few of them."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server."""

    stall_seconds: float = 60.0
    min_bytes_per_second: float = 1024.0


class Watch:
    """Measures how one request gets on."""

    def __init__(
        self, patience: Patience, attention: Attention, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience, self._attention, self._clock = patience, attention, clock
        self._idle: Callable[[], None] = _nothing
        self._body = False
        self._silent = self._waited = 0.0  # seconds spent in reads: since the last byte, in this window
        self._bytes = 0  # in this window

    def await_answer(self) -> None:
        """Begin with the status line and the headers of an answer."""
        self._begin(body=False)

    def await_body(self) -> None:
        """Go on with its body."""
        self._begin(body=True)

    def when_idle(self, idle: Callable[[], None]) -> None:
        """Call `idle` after each slice of waiting in which no byte of this body comes."""
        self._idle = idle

    def read(self, receive: Callable[[float], bytes]) -> bytes:
        """Return what `receive`, which waits for so many seconds, gets. Raises Stalled, Slow."""
        while True:
            self._attention.check()
            begun = self._clock()
            try:
                data = receive(min(_SLICE_SECONDS, self._patience.stall_seconds))
            except httpcore2.ReadTimeout:
                data = None
            spent = self._clock() - begun
            if data is None:
                self._idle()
            self._count(spent, data)
            if data is not None:
                return data

    def _begin(self, *, body: bool) -> None:
        self._body = body
        if not body:
            self._idle = _nothing
        self._silent = self._waited = 0.0
        self._bytes = 0

    def _count(self, seconds: float, data: bytes | None) -> None:
        patience = self._patience
        self._waited += seconds
        self._silent = 0.0 if data and self._body else self._silent + seconds
        self._bytes += len(data or b"")
        if data is not None and not data:
            return  # it hung up, which the HTTP library judges
        if not self._body:
            self._check_headers()
        if self._silent >= patience.stall_seconds:
            raise Stalled(f"nothing came for {patience.stall_seconds:g} s")
        if self._body and self._waited >= patience.stall_seconds:
            rate = self._bytes / self._waited
            if rate < patience.min_bytes_per_second:
                raise Slow(f"{rate:.0f} bytes a second came, at least {patience.min_bytes_per_second:g} must")
            self._waited, self._bytes = 0.0, 0

    def _check_headers(self) -> None:
        """Give up an answer that does not begin: answers before it (1xx) may come without end."""
        if self._bytes > _MOST_HEADERS:
            raise httpcore2.RemoteProtocolError(f"{self._bytes} bytes came that are no answer yet")


def _nothing() -> None:
    """Do nothing: nobody waits for the body yet."""


class CheckedBackend(httpcore2.NetworkBackend):
    """Opens connections to allowed addresses only; a watch looks after their reads."""

    def __init__(self, addresses: Addresses, watch: Watch | None = None) -> None:
        self._addresses, self._watch = addresses, watch
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of `host` that answers. Raises IngotError as `look_up` does."""
        failure: Exception | None = None
        for address in self._addresses.look_up(host, port):
            try:
                stream = self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
                continue
            return _WatchedStream(stream, self._watch) if self._watch is not None else stream
        raise failure or httpcore2.ConnectError(f"{host} has no address")


class _WatchedStream(httpcore2.NetworkStream):
    """A connection whose reads are watched."""

    def __init__(self, inner: httpcore2.NetworkStream, watch: Watch) -> None:
        self._inner, self._watch = inner, watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._watch.read(lambda seconds: self._inner.read(max_bytes, seconds))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _WatchedStream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._watch)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)
