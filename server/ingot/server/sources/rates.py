"""A cap on the bytes a second of everything that one body fetches."""

import threading
import time
from collections.abc import Callable


class Rate:
    """Lets `bytes_per_second` through in the long run; 0 lets everything through."""

    def __init__(self, bytes_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.bytes_per_second = bytes_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()

    def reserve(self, count: int) -> float:
        """Book `count` bytes that came and return how many seconds to wait before taking more."""
        if not self.bytes_per_second:
            return 0.0
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + count / self.bytes_per_second
            return self._free_at - now
