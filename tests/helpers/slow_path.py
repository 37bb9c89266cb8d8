"""A path that is far and wide: bytes arrive later, as many as there are. Between TCP ports of this machine.

    with slow_path("127.0.0.1:7070", round_trip=0.1) as address:
        Client(address, token)

Each way takes half of the round trip, and a connection one round trip until its first byte leaves, as TCP
takes. Nothing is lost, and the rate has no limit but that of the machine, so what is slower than without it
waits for answers: (seconds more) / (round trip) are the round trips that one after the other were needed.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

_READ = 1024 * 1024


@contextlib.contextmanager
def slow_path(target: str, round_trip: float) -> Iterator[str]:
    """Pass connections on to `target`, host:port; give the address to connect to instead. Seconds."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="slow-path", daemon=True)
    thread.start()
    path = _Path(target, round_trip)
    try:
        yield asyncio.run_coroutine_threadsafe(path.open(), loop).result(100)
    finally:
        asyncio.run_coroutine_threadsafe(path.close(), loop).result(100)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Path:
    def __init__(self, target: str, round_trip: float) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._round_trip = round_trip
        self._ends: set[asyncio.WriteTransport] = set()
        self._server: asyncio.Server | None = None
        self._dialling: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self._accepted, self._ends), "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in list(self._ends):
            end.abort()
        await asyncio.sleep(0)

    def _accepted(self, near: "_End") -> None:
        near.delay = self._round_trip / 2
        asyncio.get_running_loop().call_later(self._round_trip, self._dial, near)

    def _dial(self, near: "_End") -> None:
        task = asyncio.get_running_loop().create_task(self._connect(near))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _connect(self, near: "_End") -> None:
        far = _End(None, self._ends, delay=self._round_trip / 2)
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, self._host, self._port)
        except OSError:
            near.abort()
            return
        near.join(far)
        far.join(near)


class _End(asyncio.Protocol):
    """One end of a connection: what it reads the other end writes, `delay` seconds later."""

    def __init__(
        self,
        accepted: "Callable[[_End], None] | None",
        ends: set[asyncio.WriteTransport],
        delay: float = 0.0,
    ) -> None:
        self.delay = delay
        self._accepted, self._ends = accepted, ends
        self._transport: asyncio.Transport | None = None
        self._other: _End | None = None
        self._early: list[bytes] = []  # what came before there was another end

    def join(self, other: "_End") -> None:
        """Pass on to another end what comes, and what came before."""
        self._other = other
        for data in self._early:
            self.data_received(data)
        self._early = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.max_size = _READ  # type: ignore[attr-defined]  # of one read; 256 KiB otherwise
        self._ends.add(transport)
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early.append(data)
        else:
            asyncio.get_running_loop().call_later(self.delay, self._other.write, data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._ends.discard(self._transport)
        if self._other is not None:
            asyncio.get_running_loop().call_later(self.delay, self._other.end)

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection has ended."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """Close it, once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()
