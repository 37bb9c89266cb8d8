"""How the async client runs the one SDK there is: each call on a thread, bound to a scope that can stop it.

A task that is cancelled stops its scope: calls in flight are cancelled, pauses end, a transfer stops at its
next step, and the thread is free again. Iterators hold a thread only while the next item is awaited. What may
wait for hours, a watch for one, has a thread of its own, apart from those that calls share.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar, cast

from ingot.client._client import Client
from ingot.client._errors import Cancelled, LimitReached
from ingot.client._scopes import Scope

P = TypeVar("P")  # a part of the SDK
T = TypeVar("T")
R = TypeVar("R")

_END = object()


class Apart:
    """Threads for what follows others, one each; for one loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._following: set[Scope] = set()

    @contextlib.contextmanager
    def thread(self, scope: Scope) -> Iterator[ThreadPoolExecutor]:
        """Have a thread for the length of a with block. Raises LimitReached."""
        if len(self._following) >= self._most:
            raise LimitReached(
                f"This client follows {len(self._following)} things already, as many as it may at once.",
                reason="BUSY",
                facts={"limit": str(self._most)},
                next_step="Leave some watches, or make it with more: AsyncClient(watches=…).",
            )
        self._following.add(scope)
        thread = ThreadPoolExecutor(1, "ingot-aio-apart")
        try:
            yield thread
        finally:
            self._following.discard(scope)
            thread.shutdown(wait=False)  # what was handed to it is done before it ends

    def stop(self) -> None:
        """End all that is followed; it raises Cancelled."""
        for scope in list(self._following):
            scope.stop()


class Running:
    """A client, and the threads that its calls run on."""

    def __init__(self, client: Client, threads: ThreadPoolExecutor, apart: Apart) -> None:
        self.client = client
        self._threads = threads
        self._apart = apart

    def over(self, client: Client) -> "Running":
        """Return the same threads for another client."""
        return Running(client, self._threads, self._apart)

    @contextlib.contextmanager
    def place(self, scope: Scope, *, apart: bool) -> Iterator[ThreadPoolExecutor]:
        """Have the threads that calls share, or one apart from them. Raises LimitReached."""
        if apart:
            with self._apart.thread(scope) as thread:
                yield thread
        else:
            yield self._threads

    async def on_thread(
        self, work: Callable[[], T], scope: Scope, threads: ThreadPoolExecutor | None = None
    ) -> T:
        """Call `work` on a thread; when this is cancelled, stop the scope and wait until it has ended.

        What still waits for a thread is taken back.
        """
        job = (threads or self._threads).submit(work)
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
        self._apart.stop()
        self.client.close()
        await asyncio.to_thread(self._threads.shutdown)


class AsyncPart(Generic[P]):
    """A part of the SDK whose methods are awaited; `part` takes it from a client."""

    def __init__(self, running: Running, part: Callable[[Client], P]) -> None:
        self._running = running
        self._part = part

    async def _call(self, method: Callable[[P], T], *, apart: bool = False) -> T:
        """Call a method that returns something; `apart` where it waits for others."""
        scope = Scope()
        with self._running.place(scope, apart=apart) as threads:
            return await self._running.on_thread(lambda: method(self._bound(scope)), scope, threads)

    async def _call_told(
        self,
        method: Callable[[P, Callable[[T], None]], R],
        on_progress: Callable[[T], None] | None,
        *,
        apart: bool = False,
    ) -> R:
        """Call a method that tells its progress; `on_progress` is called on the loop."""
        scope, tell = Scope(), self._on_loop(on_progress)

        def told(progress: T) -> None:
            if scope.is_stopped:
                raise Cancelled("The transfer was given up by its caller.", reason="CANCELLED")
            if tell is not None:
                tell(progress)

        with self._running.place(scope, apart=apart) as threads:
            return await self._running.on_thread(lambda: method(self._bound(scope), told), scope, threads)

    async def _each(
        self, method: Callable[[P], Iterable[T]], *, apart: bool = False
    ) -> AsyncGenerator[T, None]:
        """Yield what a method yields; `apart` where it waits for others."""
        scope, on_thread = Scope(), self._running.on_thread
        with self._running.place(scope, apart=apart) as threads:
            items = await on_thread(lambda: iter(method(self._bound(scope))), scope, threads)
            try:
                while (item := await on_thread(lambda: next(items, _END), scope, threads)) is not _END:
                    yield cast(T, item)
            finally:
                scope.stop()
                if close := getattr(items, "close", None):
                    await asyncio.shield(asyncio.wrap_future(threads.submit(close)))

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
