"""Several files at once: a few threads with a fetcher each, one rate and one budget for all.

    with FetchPool(work, lambda attention: Fetcher(…, attention, …), len(files)) as pool:
        for done in pool.each(files, fetch_one):        # empty now and then: tell how far it is
            ...

When one file fails, or somebody asks to stop, all of them stop at their next slice of waiting, and what they
have safe stays for the next attempt.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TypeVar

from ingot.server.bodies.failures import Cancelled
from ingot.server.bodies.work import Work
from ingot.server.core.params import Params
from ingot.server.sources.connections import Attention
from ingot.server.sources.urls import Fetcher

AT_ONCE = 4
_LOOK_SECONDS = 0.25
_END_SECONDS = 2.0

P = TypeVar("P", bound=Params)
T = TypeVar("T")
R = TypeVar("R")


class FetchPool:
    """Threads that fetch; use it in a with block. It is what its fetchers listen to."""

    def __init__(self, work: Work[P], make: Callable[[Attention], Fetcher], count: int) -> None:
        """Prepare for `count` files."""
        self._check = work.check
        self._stop = threading.Event()
        self._stack = ExitStack()
        self._at_once = max(1, min(AT_ONCE, count))
        first = make(self)
        self.budget = first.budget
        self._idle: queue.SimpleQueue[Fetcher] = queue.SimpleQueue()
        for fetcher in (first, *(first.another() for _ in range(self._at_once - 1))):
            self._idle.put(self._stack.enter_context(fetcher))
        self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="fetch")
        self._running: set[Future[object]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        # A thread that connects to nobody is not waited for; it finds everything closed, or the process ends.
        wait(self._running, timeout=_END_SECONDS)
        self._stack.close()

    def check(self) -> None:
        """Raise Cancelled when somebody asked to stop, or another file failed."""
        self._check()
        if self._stop.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Pause; raise Cancelled as `check` does."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            self._stop.wait(min(left, _LOOK_SECONDS))
        self.check()

    @contextmanager
    def fetcher(self) -> Iterator[Fetcher]:
        """Give a fetcher that nobody else uses, for the length of a with block."""
        fetcher = self._idle.get()
        try:
            yield fetcher
        finally:
            self._idle.put(fetcher)

    def each(self, items: Sequence[T], do: Callable[[T], R]) -> Iterator[list[tuple[T, R]]]:
        """Do something to every item, a few at once, and yield what was done since; often nothing was.

        Raises what `do` raises.
        """
        left = deque(items)
        running: dict[Future[R], T] = {}
        while left or running:
            while left and len(running) < self._at_once:
                item = left.popleft()
                future = self._threads.submit(do, item)
                running[future] = item
                self._running.add(future)  # type: ignore[arg-type]  # only waited for
            done, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            self._running -= done
            yield [(running.pop(each), each.result()) for each in done]
