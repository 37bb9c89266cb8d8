"""One hop per call from the event loop into threads: reads, writes, and work on files.

    version = await hops.read(catalog.get_version, caller, name)      # one snapshot, on a reader thread
    checked = await hops.read_long(commits.check, upload, …)          # likewise, where it takes seconds
    upload = await hops.write(uploads.begin, caller, plan)            # one savepoint; returns after the fsync
    pack = await hops.io(packs.append, chunks)                        # files and hashing; no rows

A write is the act of its call: when it changed something, it also makes the call's entry in the audit log
(journaling.py). What a call writes before its act is a `prepare`; figures and other bookkeeping, which are
nobody's act, are a `keep`.

Rules are plain synchronous code and never run on the loop. When a call is cancelled, a write that has not
started is dropped; whatever runs already runs to its end, since a transaction cannot stop halfway.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from ingot.server.core.labels import label_of
from ingot.server.rpc import current, journaling
from ingot.server.rpc.calls import Call
from ingot.server.rpc.journaling import Journaling

P = ParamSpec("P")
T = TypeVar("T")


class UnitsOfWork(Protocol):
    """The part of a database that runs rules; `storage/database.py` has it."""

    def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` in this thread with one consistent view of all rows."""
        ...

    def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue `fn` for the writer; the future resolves when its changes are durable."""
        ...


class FileWork(Protocol):
    """The part of the hops that touches no rows."""

    async def io(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn`, which touches files or hashes and no rows, on an I/O thread."""
        ...


class Hops:
    """Carries calls of the event loop to the threads that may wait."""

    def __init__(
        self,
        database: UnitsOfWork,
        journal: Journaling | None = None,
        *,
        read_threads: int = 4,
        io_threads: int = 8,
        long_threads: int = 2,
    ) -> None:
        self._database = database
        self._journal = journal
        self._readers = ThreadPoolExecutor(read_threads, "ingot-read")
        self._long_readers = ThreadPoolExecutor(long_threads, "ingot-long")
        self._io = ThreadPoolExecutor(io_threads, "ingot-io")

    async def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a read transaction on a reader thread."""
        call = current.optional_call()
        if self._journal is None or call is None or call.caller is None or not call.caller.is_admin:
            read = functools.partial(self._database.read, fn, *args, **kwargs)
            return await _on(self._readers, read)
        noting = self._journal.reading(functools.partial(fn, *args, **kwargs))
        reading = functools.partial(self._database.read, noting)
        result, note = await _on(self._readers, reading)
        entering = self._journal.note_use(call, note)
        if entering is not None:
            await self._entered(call, self._database.write(entering))
        return result

    def read_here(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a read transaction in this very thread: for work that `io` does, row by row."""
        return self._database.read(fn, *args, **kwargs)

    async def read_long(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, for what takes seconds: on threads of its own, so that everybody's reads go on."""
        read = functools.partial(self._database.read, fn, *args, **kwargs)
        return await _on(self._long_readers, read)

    async def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a write transaction on the writer thread; return once it is durable.

        Of a call that changes something it is the act: its entry in the audit log is part of it. Work of the
        server itself says what of it is one (journal.act).
        """
        return await self._write(functools.partial(fn, *args, **kwargs), act=True)

    async def prepare(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, before the act of a call that takes several."""
        return await self._write(functools.partial(fn, *args, **kwargs), act=False)

    async def keep(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, for figures and other bookkeeping that no entry tells of."""
        return await asyncio.wrap_future(self._database.write(fn, *args, **kwargs))

    async def io(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn`, which touches files or hashes and no rows, on an I/O thread."""
        return await _on(self._io, functools.partial(fn, *args, **kwargs))

    async def _write(self, fn: Callable[[], T], *, act: bool) -> T:
        call = current.optional_call()
        if self._journal is None:
            return await asyncio.wrap_future(self._database.write(fn))
        if call is None or not call.method.audited:
            return await asyncio.wrap_future(self._database.write(self._journal.own(fn)))
        return await self._entered(call, self._database.write(self._journal.around(call, fn, act=act)))

    @staticmethod
    async def _entered(call: Call, writing: "Future[T]") -> T:
        """Wait for a write that makes an entry; without it there is none."""
        before = call.entered
        try:
            return await asyncio.wrap_future(writing)
        except Exception:
            if not before:
                journaling.undo(call)
            raise

    def close(self) -> None:
        """Finish what runs and stop the threads; the database stays open."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._long_readers.shutdown(wait=True, cancel_futures=True)
        self._io.shutdown(wait=True, cancel_futures=True)


async def _on(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Return what `work` does on one of the threads."""
    return await asyncio.get_running_loop().run_in_executor(threads, _whole, work)


def _whole(work: Callable[[], T]) -> T:
    try:
        return work()
    except StopIteration as stop:  # no future of asyncio takes it: who waits would do so for ever
        raise RuntimeError(f"{label_of(work)} ended an iteration of nobody") from stop
