"""Time as an argument: rules ask a Clock, so that tests can decide what time it is."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where rules get the time from."""

    def now(self) -> float:
        """Return the time of day in seconds since the epoch; it may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go backwards; for spans and deadlines."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return the time of day in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start."""
        return time.monotonic()
