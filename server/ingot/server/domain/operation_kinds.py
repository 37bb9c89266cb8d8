"""What the server can do in the background, as it is set here and now."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.kinds import OperationKind
from ingot.server.core.operations import QueueLimits, RetryPolicy
from ingot.server.domain.operations import Operations
from ingot.server.domain.schedules import Schedules


@dataclass(frozen=True, slots=True)
class KindFacts:
    """One kind with what holds for it; spans in seconds, times in epoch seconds."""

    kind: OperationKind
    policy: RetryPolicy
    timeout: float
    queue_limit: int
    period: float | None = None  # None is never by itself
    next_time: float | None = None


class OperationKinds:
    """Tells of all kinds. Its method runs inside a read."""

    def __init__(self, operations: Operations, schedules: Schedules, limits: QueueLimits) -> None:
        self._operations = operations
        self._schedules = schedules
        self._limits = limits

    def all(self) -> Sequence[KindFacts]:
        """Return every kind in the order of their names."""
        return [self._facts(kind) for kind in self._operations.kinds()]

    def _facts(self, kind: OperationKind) -> KindFacts:
        policy, timeout = self._operations.limits_of(kind)
        period, next_time = self._schedules.of(kind.name)
        return KindFacts(kind, policy, timeout, self._limits.of(kind.queue), period or None, next_time)
