"""Moving operations from state to state: what changes with every move, in one place.

Both sides come here: people and features (operations.py) and whoever runs them (claims.py). A move asks the
transition function, stores the row by compare-and-set under a new change number, appends the change to the
operation's event log, calls the hooks of its kind inside the same write, and tells the listeners after the
commit. A hook that raises undoes the move; so that it cannot hold an operation for ever, claims.py gives one
up whose begin or end cannot be stored otherwise.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypedDict, Unpack

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, Problem, Reason
from ingot.server.core.events import NewEvent, Progress, StateChange
from ingot.server.core.operation_stores import OperationListener, OperationStore
from ingot.server.core.operations import (
    CLAIMED_STATES,
    FINAL_OPERATION_STATES,
    Operation,
    OperationHook,
    OperationMove,
    OperationState,
    next_state,
)
from ingot.server.domain.events import AfterCommit, EventLog

OPERATIONS_TOPIC = "operations"  # woken with every change of any of them
_CHANGE = "change"


class OperationChanges(TypedDict, total=False):
    """Fields of an operation that may change along with its state, or without it."""

    due_time: float
    attempt: int
    tries: int
    runner: str
    lease_time: float | None
    attempt_time: float | None
    start_time: float | None
    progress: Progress | None
    log_bytes: int
    problem: Problem | None
    result: JsonObject


class OperationMoves:
    """Finds operations and changes them. Methods run inside a write, `find` also inside a read."""

    def __init__(
        self,
        store: OperationStore,
        log: EventLog,
        counters: CounterStore,
        after_commit: AfterCommit,
        clock: Clock,
    ) -> None:
        self._store = store
        self._log = log
        self._counters = counters
        self._after_commit = after_commit
        self._clock = clock
        self._hooks: dict[str, list[OperationHook]] = {}
        self._listeners: list[OperationListener] = []

    def on(self, kind: str, hook: OperationHook) -> None:
        """Call `hook` inside the write of every change of state of operations of a kind."""
        self._hooks.setdefault(kind, []).append(hook)

    def listen(self, listener: OperationListener) -> None:
        """Tell `listener` of every new state of any operation, after its commit."""
        self._listeners.append(listener)

    def find(self, operation: str) -> Operation:
        """Return an operation by its id. Raises NotFound (OPERATION_NOT_FOUND)."""
        found = self._store.find(operation)
        if found is None:
            raise operation_not_found(operation)
        return found

    def add(self, operation: Operation, message: str) -> Operation:
        """Store a new operation under the next number."""
        added = replace(operation, number=self._counters.next("op"), change=self._counters.next(_CHANGE))
        self._store.add(added)
        self._tell("", added, message)
        return added

    def move(
        self,
        operation: Operation,
        move: OperationMove,
        message: str = "",
        *,
        hooks: bool = True,
        **changes: Unpack[OperationChanges],
    ) -> Operation:
        """Take one step of the state machine and store `changes` with it. Raises Precondition.

        Without `hooks` no feature hears of it: for one that raises whenever it does.
        """
        state = next_state(operation.state, move)
        after = replace(operation, **changes, state=state)
        if state in FINAL_OPERATION_STATES:
            after = replace(after, finish_time=self._clock.now())
        elif operation.ended:
            after = replace(after, finish_time=None)
        if state not in CLAIMED_STATES:
            after = replace(after, lease_time=None)
        if state is OperationState.SUCCEEDED:
            after = replace(after, sealed="")  # every other one may be run again
        if state is operation.state and after == operation:
            return operation
        after = replace(after, revision=operation.revision + 1, change=self._counters.next(_CHANGE))
        self._store.save(operation, after)
        if state is not operation.state:
            self._tell(operation.state, after, message, hooks=hooks)
        return after

    def note(
        self, operation: Operation, events: Sequence[NewEvent], **changes: Unpack[OperationChanges]
    ) -> Operation:
        """Store progress and log lines: what changes all the time and leaves the etag alone."""
        after = replace(operation, **changes, change=self._counters.next(_CHANGE))
        self._store.save(operation, after)
        self._log.append(after.name, after.attempt, events)
        self._log.wake(OPERATIONS_TOPIC)
        return after

    def extend(self, operation: Operation, lease_time: float) -> Operation:
        """Let the lease of a claim run longer; nobody but its runner sees a change."""
        after = replace(operation, lease_time=lease_time)
        self._store.save(operation, after)
        return after

    def forget(self, before: float, limit: int) -> Sequence[str]:
        """Remove up to `limit` operations that ended before a time, with their logs; return their names."""
        names = self._store.forget(before, limit)
        for name in names:
            self._log.delete(name)
        return names

    def _tell(self, before: str, after: Operation, message: str, *, hooks: bool = True) -> None:
        change = StateChange.because(before, after.state.value, message)
        self._log.append(after.name, after.attempt, [NewEvent(change)])
        self._log.wake(OPERATIONS_TOPIC)
        for hook in self._hooks.get(after.kind, ()) if hooks else ():
            hook.moved(after)
        for listener in self._listeners:
            self._after_commit(partial(listener.changed, after))


def operation_not_found(operation: str) -> NotFound:
    """Return the error for an operation that is absent or not the caller's to see, by its id."""
    return NotFound(
        Reason.OPERATION_NOT_FOUND,
        f"There is no operation operations/{operation}, or it is not yours to see.",
        next_step="`ingot operations ls` shows those there are.",
        facts={"operation": operation},
    )
