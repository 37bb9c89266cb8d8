"""One hop per call from the event loop into threads: reads, writes, and work on files.

    version = await hops.read(catalog.get_version, caller, name)      # one snapshot, on a reader thread
    upload = await hops.write(uploads.begin, caller, plan)            # one savepoint; returns after the fsync
    pack = await hops.io(packs.append, chunks)                        # files and hashing; no rows

Rules are plain synchronous code and never run on the loop. When a call is cancelled, a write that has not
started is dropped; whatever runs already runs to its end, since a transaction cannot stop halfway.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

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


class Hops:
    """Carries calls of the event loop to the threads that may wait."""

    def __init__(self, database: UnitsOfWork, *, read_threads: int = 4, io_threads: int = 8) -> None:
        self._database = database
        self._readers = ThreadPoolExecutor(read_threads, "ingot-read")
        self._io = ThreadPoolExecutor(io_threads, "ingot-io")

    async def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a read transaction on a reader thread."""
        call = functools.partial(self._database.read, fn, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a write transaction on the writer thread; return once it is durable."""
        return await asyncio.wrap_future(self._database.write(fn, *args, **kwargs))

    async def io(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn`, which touches files or hashes and no rows, on an I/O thread."""
        call = functools.partial(fn, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._io, call)

    def close(self) -> None:
        """Finish what runs and stop the threads; the database stays open."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._io.shutdown(wait=True, cancel_futures=True)
