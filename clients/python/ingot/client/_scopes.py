"""What one caller can stop from another thread: its calls in flight and its pauses. For the async client."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Scope:
    """The calls of one piece of work, which somebody else may end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancels: dict[int, Callable[[], object]] = {}
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped: what runs should end, and nothing be tried again."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the calls in flight and every pause; calls that begin later end at once."""
        self._stopped.set()
        with self._lock:
            cancels = list(self._cancels.values())
        for cancel in cancels:
            cancel()

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until it is stopped."""
        self._stopped.wait(seconds)

    @contextmanager
    def holding(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Call `cancel` when it is stopped within the with block, or was before."""
        key = id(cancel)
        with self._lock:
            self._cancels[key] = cancel
        if self._stopped.is_set():
            cancel()
        try:
            yield
        finally:
            with self._lock:
                del self._cancels[key]
