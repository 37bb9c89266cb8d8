"""A cap on the bytes a second that all lanes together move."""

import threading
import time
from collections.abc import Callable


class Rate:
    """Lets `bytes_per_second` through in the long run; 0 lets everything through."""

    def __init__(self, bytes_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = bytes_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()

    def reserve(self, count: int) -> float:
        """Book `count` bytes and return how many seconds to wait before moving them."""
        if not self.per_second:
            return 0.0
        with self._lock:
            now = self._clock()
            start = max(self._free_at, now)
            self._free_at = start + count / self.per_second
            return start - now
