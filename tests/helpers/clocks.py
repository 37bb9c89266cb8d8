"""Clocks for tests of whole servers."""

import dataclasses
import time


@dataclasses.dataclass(slots=True)
class HandClock:
    """A clock that a test moves."""

    ahead: float = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead
