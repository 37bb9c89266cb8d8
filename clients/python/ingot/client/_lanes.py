"""Lanes: threads that move independent pieces of work side by side, each over a connection of its own.

Unless a number is fixed, a push begins with three, so that two move while one waits for the disk at its end,
and a pull with two; then `Growth` finds how many help. The first failure stops all.
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
_FAIR_SHARE = 0.5  # of what one of the others moves, which a new lane has to add
_FIRST_REST, _LONGEST_REST = 8, 64  # windows


class LaneStopped(Exception):
    """Raised inside a lane's work when the whole transfer stops; never reaches the caller."""


class Growth:
    """How many lanes to use: one more as long as the last one helped, told once in a window of time.

    A lane that adds less than half of what each of the others moves is taken back, for more lanes than the
    path can use only cost memory. The path may change, so after a rest, which doubles each time, one more is
    tried again. A server that is crowded sets the bound.
    """

    def __init__(self, first: int, most: int) -> None:
        self.wanted = min(first, most)
        self._most = most
        self._trying = False  # whether the last lane is on trial
        self._before = 0.0  # rate without it
        self._rest = 0
        self._next_rest = _FIRST_REST

    def told(self, rate: float) -> None:
        """Take what moved in a window, in bytes a second, and decide about the next."""
        if self._trying and rate < self._before * (1 + _FAIR_SHARE / (self.wanted - 1)):
            self.wanted -= 1
            self._trying = False
            self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, _LONGEST_REST)
        elif self._trying or self._rest <= 0:
            self._trying = self.wanted < self._most
            self.wanted += self._trying
            self._before = rate
        else:
            self._rest -= 1

    def crowded(self) -> None:
        """Use one less and never more: the server has too much at once."""
        self.wanted = self._most = max(1, self.wanted - 1)
        self._trying = False

    def slower(self) -> None:
        """Use one less for a good while: the path is too thin for so many."""
        self.wanted = max(1, self.wanted - 1)
        self._trying = False
        self._rest = self._next_rest = _LONGEST_REST


class Lanes(Generic[T]):
    """Runs `work(lane, item)` for every item; in `fixed` lanes, or from `first` on in as many as help."""

    def __init__(
        self,
        work: Callable[[int, T], None],
        *,
        first: int = FIRST,
        most: int = MOST,
        fixed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        most = max(1, fixed or most)
        self._growth = Growth(most if fixed else first, most)
        self._items: deque[T] = deque()
        self._busy = 0
        self._closing = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._threads: dict[int, threading.Thread] = {}  # by lane
        self._clock = clock
        self._window_start = clock()
        self._window_bytes = 0

    def submit(self, item: T) -> None:
        """Hand in an item. Raises what a lane failed with."""
        with self._changed:
            self._raise()
            self._items.append(item)
            self._start_lanes()
            self._changed.notify_all()

    def moved(self, count: int) -> None:
        """Count bytes that moved, from any thread; may open another lane, or end one after its work."""
        with self._changed:
            self._window_bytes += count
            elapsed = self._clock() - self._window_start
            if elapsed >= _WINDOW:
                if self._items:  # else more lanes would have nothing to do
                    self._growth.told(self._window_bytes / elapsed)
                    self._start_lanes()
                self._window_bytes, self._window_start = 0, self._clock()

    def crowded(self) -> None:
        """Make do with one lane less: the server has too much at once."""
        with self._changed:
            self._growth.crowded()
            self._changed.notify_all()

    def slower(self) -> None:
        """Make do with one lane less for a while: the path is too thin."""
        with self._changed:
            self._growth.slower()
            self._changed.notify_all()

    def give_back(self, lane: int, item: T) -> bool:
        """Let another lane do what is left of an item; return False for a lane that is not one too many."""
        with self._changed:
            if self._closing or self._failure is not None or lane < self._growth.wanted:
                return False
            self._items.appendleft(item)
            self._start_lanes()
            self._changed.notify_all()
            return True

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
        return self._closing or self._failure is not None or lane >= self._growth.wanted

    def _is_drained(self, backlog: int) -> bool:
        return len(self._items) <= backlog if backlog else not self._items and self._busy == 0

    def _start_lanes(self) -> None:
        for lane in range(self._growth.wanted):
            if len(self._threads) >= self._busy + len(self._items):
                break
            if lane not in self._threads:
                thread = threading.Thread(
                    target=self._run, args=(lane,), name=f"ingot-lane-{lane}", daemon=True
                )
                self._threads[lane] = thread
                thread.start()

    def _run(self, lane: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._is_over(lane))
                if self._is_over(lane):
                    if not self._closing:  # which waits for all of them
                        self._threads.pop(lane, None)
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
            threads = list(self._threads.values())
        for thread in threads:
            # After a failure a lane may hang in a call until the connection is closed; it is a daemon.
            thread.join(timeout=None if kind is None else 1.0)
