"""The interfaces through which operations reach their rows, and whoever runs them hears of changes.

Stores are called inside a unit of work. There is one writer, so a rule may read, decide and write; every save
is a compare-and-set all the same, so that a rule that decided on something old fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingot.server.core.catalog_stores import Rows
from ingot.server.core.operations import Operation, OperationState


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations to list; what is empty or None does not count."""

    kind: str = ""
    state: OperationState | None = None
    queue: str = ""
    target: str = ""
    namespace: str = ""  # id; `-` for all that may be seen
    shared: tuple[str, ...] = ()  # ids of namespaces, all of whose are shown beside the requester's
    within: tuple[str, ...] = ()  # namespaces, else only what the requester asked as a guest; any if empty
    active_only: bool = False  # leave out those that have ended
    but_after: int | None = None  # with active_only: show those that ended with a later change all the same


class OperationStore(Protocol):
    """Operations."""

    def find(self, operation: str) -> Operation | None:
        """Return an operation by its id (`op_12`)."""
        ...

    def unfinished(self, key: str) -> Operation | None:
        """Return the operation with this key that has not ended; there is at most one."""
        ...

    def add(self, operation: Operation) -> None:
        """Add an operation; its number must be new, and no unfinished one may have its key."""
        ...

    def save(self, before: Operation, after: Operation) -> None:
        """Store everything that may change: compare-and-set on state, attempt and revision of `before`.

        Raises Conflict (ETAG_MISMATCH) when the row is another by now; nothing is changed then.
        """
        ...

    def page(
        self, requester: str | None, wanted: OperationFilter, after: int | None, size: int
    ) -> Rows[Operation]:
        """Return up to `size`, newest first, after a number; None requester means any."""
        ...

    def since(
        self, requester: str | None, wanted: OperationFilter, change: int, limit: int
    ) -> Sequence[Operation]:
        """Return up to `limit` operations whose last change has a higher number, in the order of changes."""
        ...

    def latest_change(self) -> int:
        """Return the number of the last change of any operation, 0 when there are none."""
        ...

    def next_waiting(self, queue: str, now: float) -> Operation | None:
        """Return the one of a queue that runs next: due, the highest priority, then the earliest due."""
        ...

    def requesters(self, queue: str, priority: int) -> Sequence[str]:
        """Return whose operations of a queue and a priority wait, due or not."""
        ...

    def next_of(self, requester: str, queue: str, priority: int, now: float) -> Operation | None:
        """Return the one of a requester that is due first; None when none of that priority is due."""
        ...

    def waiting(self) -> Sequence[Operation]:
        """Return all that wait for their turn, due or not, by number."""
        ...

    def next_due(self, now: float) -> float | None:
        """Return the earliest time after `now` at which a waiting one becomes due; None without one."""
        ...

    def claimed(self) -> Sequence[Operation]:
        """Return those that somebody has claimed, by number; they are few."""
        ...

    def claimed_in(self, queue: str) -> Mapping[str, int]:
        """Return how many of a queue are claimed, by who asked for them."""
        ...

    def unfinished_of(self, requester: str) -> int:
        """Return how many of a requester have not ended."""
        ...

    def forget(self, before: float, limit: int) -> Sequence[str]:
        """Remove up to `limit` operations that ended before a time; return their names."""
        ...


class ScheduleStore(Protocol):
    """When each periodic kind is due next."""

    def due(self, kind: str) -> float | None:
        """Return when a kind is due; None when it has never been planned."""
        ...

    def plan(self, kind: str, due: float) -> None:
        """Store when a kind is due."""
        ...


class OperationListener(Protocol):
    """Told, after the commit and outside any transaction, that operations have changed."""

    def changed(self, operation: Operation) -> None:
        """Take note of an operation in a new state; may be called from any thread."""
        ...
