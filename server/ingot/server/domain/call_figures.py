"""Gathers figures of calls in memory; they are written together with usage (see domain/usage.py)."""

import threading
from dataclasses import dataclass

from ingot.server.core.call_figures import CallCount, CallFiguresStore, CallKey, CallTotals, Failure
from ingot.server.core.usage import day_of

MESSAGE_LIMIT = 300  # characters of a failure that are kept


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that is over; `seconds` is None for a stream that only followed something."""

    method: str
    code: str
    time: float  # when it ended, in epoch seconds
    seconds: float | None
    failure: Failure | None = None


class CallFigures:
    """Figures of calls; `ended` may be called from any thread, `write` inside a write."""

    def __init__(self, store: CallFiguresStore) -> None:
        self._store = store
        self._gathered = CallTotals()
        self._lock = threading.Lock()

    def ended(self, call: EndedCall) -> None:
        """Count a call that is over."""
        day = day_of(call.time)
        key = CallKey(day, call.method, call.code)
        with self._lock:
            count = self._gathered.calls.get(key)
            if count is None:
                count = self._gathered.calls[key] = CallCount()
            count.count += 1
            if call.seconds is not None:
                count.seconds += call.seconds
                count.times.add(call.seconds)
            if call.failure is not None:
                self._gathered.failures[day, call.failure.reason] += 1
                self._gathered.last[call.failure.reason] = call.failure

    def pending(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self._gathered)

    def take(self) -> CallTotals:
        """Return what was gathered, for `write`; whoever takes it gives it back when that fails."""
        with self._lock:
            taken, self._gathered = self._gathered, CallTotals()
        return taken

    def put_back(self, totals: CallTotals) -> None:
        """Keep what could not be written for the next time."""
        with self._lock:
            totals.add_all(self._gathered)
            self._gathered = totals

    def write(self, totals: CallTotals) -> None:
        """Write what was gathered."""
        self._store.add(totals)
