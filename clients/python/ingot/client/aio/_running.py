"""How the async client runs the one SDK there is: each call on a thread, bound to a scope that can stop it.

A task that is cancelled stops its scope: calls in flight are cancelled, pauses end, a transfer stops at its
next step, and the thread is free again. Iterators hold a thread only while the next item is awaited.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar, cast

from ingot.client._client import Client
from ingot.client._errors import Cancelled
from ingot.client._scopes import Scope

P = TypeVar("P")  # a part of the SDK
T = TypeVar("T")
R = TypeVar("R")

_END = object()


class Running:
    """A client, and the threads that its calls run on."""

    def __init__(self, client: Client, threads: ThreadPoolExecutor) -> None:
        self.client = client
        self._threads = threads

    def over(self, client: Client) -> "Running":
        """Return the same threads for another client."""
        return Running(client, self._threads)

    async def on_thread(self, work: Callable[[], T], scope: Scope) -> T:
        """Call `work` on a thread; when this is cancelled, stop the scope and wait until it has ended.

        What still waits for a thread is taken back.
        """
        job = self._threads.submit(work)
        future = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            scope.stop()
            if not job.cancel():
                with contextlib.suppress(Exception):  # what it ended with is nobody's any more
                    await future
            raise

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled, and their threads end."""
        self.client.close()
        await asyncio.to_thread(self._threads.shutdown)


class AsyncPart(Generic[P]):
    """A part of the SDK whose methods are awaited; `part` takes it from a client."""

    def __init__(self, running: Running, part: Callable[[Client], P]) -> None:
        self._running = running
        self._part = part

    async def _call(self, method: Callable[[P], T]) -> T:
        """Call a method that returns something."""
        scope = Scope()
        return await self._running.on_thread(lambda: method(self._bound(scope)), scope)

    async def _call_told(
        self, method: Callable[[P, Callable[[T], None]], R], on_progress: Callable[[T], None] | None
    ) -> R:
        """Call a method that tells its progress; `on_progress` is called on the loop."""
        scope, tell = Scope(), self._on_loop(on_progress)

        def told(progress: T) -> None:
            if scope.is_stopped:
                raise Cancelled("The transfer was given up by its caller.", reason="CANCELLED")
            if tell is not None:
                tell(progress)

        return await self._running.on_thread(lambda: method(self._bound(scope), told), scope)

    async def _each(self, method: Callable[[P], Iterable[T]]) -> AsyncIterator[T]:
        """Yield what a method yields."""
        scope = Scope()
        items = await self._running.on_thread(lambda: iter(method(self._bound(scope))), scope)
        try:
            while (item := await self._running.on_thread(lambda: next(items, _END), scope)) is not _END:
                yield cast(T, item)
        finally:
            scope.stop()
            if close := getattr(items, "close", None):
                await asyncio.shield(self._running.on_thread(close, Scope()))

    def _on_loop(self, callback: Callable[[T], object] | None) -> Callable[[T], None] | None:
        """Return a callback for threads that has one called on the loop that runs now."""
        if callback is None:
            return None
        loop = asyncio.get_running_loop()

        def tell(what: T) -> None:
            loop.call_soon_threadsafe(callback, what)

        return tell

    def _bound(self, scope: Scope) -> P:
        return self._part(self._running.client.within(scope))
