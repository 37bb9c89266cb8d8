"""Clocks that tests move."""

import time

from ingot.server.core.clock import SystemClock


class ShiftedClock(SystemClock):
    """The machine's clock, its time of day moved forward by `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class HandClock(ShiftedClock):
    """One that also moves for whatever waits."""

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead
