"""The SDK for asyncio: the same parts, methods, arguments and results, awaited.

    async with AsyncClient() as client:
        await client.push("models/tiny", "./tiny")
        async for version in client.catalog.versions("models/tiny"):
            print(version.name)

It is made from the SDK (docs/tools/async_form.py), whose calls run on threads, `threads` of them at once.
Watches and calls that wait for others' work have threads of their own, so that no other call waits for them.
A task that is cancelled ends its calls. What yields is an async iterator; `async for` may be left at any
time. `on_progress` and other callbacks are called on the loop.
"""

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from ingot.client._calls import DEFAULT_TIMEOUT
from ingot.client._client import Client
from ingot.client._connection import Endpoint, TlsFiles
from ingot.client.aio._parts import AsyncParts
from ingot.client.aio._running import Apart, Running

__all__ = ["AsyncClient"]


class AsyncClient(AsyncParts):
    """A connection to one Ingot server, for tasks of one event loop; closed once. See Client."""

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        *,
        namespace: str = "",
        user: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        tls: TlsFiles | None = None,
        threads: int = 32,
        watches: int = 256,
        running: Running | None = None,
    ) -> None:
        """Prepare a connection; arguments as of Client, and how many calls may run at once.

        Besides them it follows `watches` things at once, with two threads each; more raise LimitReached.
        `running` is a connection with its threads that was made elsewhere.
        """
        if running is None:
            client = Client(server, token, namespace=namespace, user=user, timeout=timeout, tls=tls)
            running = Running(client, ThreadPoolExecutor(threads, "ingot-aio"), Apart(watches))
        super().__init__(running, lambda client: client)

    def with_timeout(self, seconds: float) -> "AsyncClient":
        """Return a client over the same connection with another deadline for unary calls."""
        return AsyncClient(running=self._running.over(self._running.client.with_timeout(seconds)))

    @property
    def endpoint(self) -> Endpoint:
        """Where it talks to."""
        return self._running.client.endpoint

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        await self._running.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
