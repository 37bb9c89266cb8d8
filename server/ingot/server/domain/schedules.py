"""Periodic operations: one row per kind says when it is due, and the write that enqueues it moves the row.

So a turn is never lost and never doubled, however many servers or restarts there are: the operation has the
kind as its key, and a turn that is due while the last one still runs is skipped. The next turn counts from
now, so a clock that jumps ahead gives one turn instead of all that it passed over.
"""

from collections.abc import Mapping

from ingot.server.core import journal
from ingot.server.core.clock import Clock
from ingot.server.core.identity import system_caller
from ingot.server.core.operation_stores import ScheduleStore
from ingot.server.core.operations import NewOperation, Operation
from ingot.server.domain.operations import Operations


class Schedules:
    """Enqueues periodic kinds. Methods run inside a write; `periods` are seconds by kind, 0 is never."""

    def __init__(
        self, store: ScheduleStore, operations: Operations, periods: Mapping[str, float], clock: Clock
    ) -> None:
        self._store = store
        self._operations = operations
        self._periods = dict(periods)
        self._clock = clock

    def turn(self) -> list[Operation]:
        """Enqueue every kind that is due and return what was enqueued. Called every few seconds."""
        turns = (self._one(kind, period) for kind, period in self._periods.items() if period)
        return [made for made in turns if made is not None]

    def of(self, kind: str) -> tuple[float, float | None]:
        """Return how often a kind runs by itself, in seconds (0 is never), and when next; None if unknown."""
        period = self._periods.get(kind, 0.0)
        return period, self._store.due(kind) if period else None

    def _one(self, kind: str, period: float) -> Operation | None:
        now = self._clock.now()
        due = self._store.due(kind)
        if due is not None and now < due <= now + period:
            return None
        self._store.plan(kind, now + period)
        if due is None or due > now:  # it is new, or the clock was set back, or the period made shorter
            return None
        made = self._operations.enqueue(system_caller(), NewOperation(kind, key=kind))
        if now <= made.create_time <= self._clock.now():  # else one that somebody asked for has not ended
            journal.act("start", made.name, kind=kind, reason="its time has come")
        return made
