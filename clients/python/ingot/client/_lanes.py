"""Lanes: threads that move independent pieces of work side by side, each over a connection of its own.

Unless a number is fixed, a push begins with three, so that two move while one waits for the disk at its end,
and a pull with two; one is added each second as long as the last one added a tenth to the rate. More lanes
than the path can use only cost memory. The first failure stops all.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

FIRST = 3
MOST = 16
_WINDOW = 1.0  # seconds
_GAIN = 1.1


class LaneStopped(Exception):
    """Raised inside a lane's work when the whole transfer stops; never reaches the caller."""


class Lanes(Generic[T]):
    """Runs `work(lane, item)` for every item; in `fixed` lanes, or from `first` on in as many as help."""

    def __init__(
        self,
        work: Callable[[int, T], None],
        *,
        first: int = FIRST,
        most: int = MOST,
        fixed: int | None = None,
    ) -> None:
        self._work = work
        self._most = max(1, fixed or most)
        self._wanted = self._most if fixed else min(first, self._most)
        self._growing = not fixed
        self._items: deque[T] = deque()
        self._busy = 0
        self._closing = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._window_start = time.monotonic()
        self._window_bytes = 0
        self._best_rate = 0.0

    def submit(self, item: T) -> None:
        """Hand in an item. Raises what a lane failed with."""
        with self._changed:
            self._raise()
            self._items.append(item)
            self._start_lanes()
            self._changed.notify_all()

    def moved(self, count: int) -> None:
        """Count bytes that moved, from any thread; may open another lane."""
        with self._changed:
            self._window_bytes += count
            elapsed = time.monotonic() - self._window_start
            if elapsed >= _WINDOW:
                self._adapt(self._window_bytes / elapsed)
                self._window_bytes, self._window_start = 0, time.monotonic()

    def crowded(self) -> None:
        """Make do with one lane less: the server has too much at once."""
        with self._changed:
            self._growing = False
            self._wanted = max(1, self._wanted - 1)
            self._changed.notify_all()

    def drain(self, backlog: int = 0) -> None:
        """Wait until at most `backlog` items wait (0: until all is done). Raises what a lane failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._is_drained(backlog))
            self._raise()

    def check(self) -> None:
        """Raise LaneStopped when the work should end; called by the work itself between its steps."""
        if self._closing or self._failure is not None:
            raise LaneStopped

    def wait(self, seconds: float) -> None:
        """Pause inside a lane; a stop ends it early with LaneStopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._failure is not None, seconds)
        self.check()

    def _is_over(self, lane: int) -> bool:
        return self._closing or self._failure is not None or lane >= self._wanted

    def _is_drained(self, backlog: int) -> bool:
        return len(self._items) <= backlog if backlog else not self._items and self._busy == 0

    def _adapt(self, rate: float) -> None:
        if not self._growing or not self._items:
            return
        if rate < self._best_rate * _GAIN:
            self._growing = False  # the last lane brought nothing
        elif self._wanted < self._most:
            self._best_rate = rate
            self._wanted += 1
            self._start_lanes()

    def _start_lanes(self) -> None:
        while len(self._threads) < self._wanted and len(self._threads) < self._busy + len(self._items):
            index = len(self._threads)
            thread = threading.Thread(
                target=self._run, args=(index,), name=f"ingot-lane-{index}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _run(self, lane: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._is_over(lane))
                if self._is_over(lane):
                    return
                item = self._items.popleft()
                self._busy += 1
            failure: BaseException | None = None
            try:
                self._work(lane, item)
            except LaneStopped:
                pass
            except BaseException as caught:  # noqa: BLE001  # handed to the caller, whatever it is
                failure = caught
            del item  # it may hold much, and the next is not there yet
            with self._changed:
                self._busy -= 1
                if self._failure is None:
                    self._failure = failure
                self._changed.notify_all()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> "Lanes[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            # After a failure a lane may hang in a call until the connection is closed; it is a daemon.
            thread.join(timeout=None if kind is None else 1.0)
