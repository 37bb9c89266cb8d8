"""Operations: the server's own background work as rows that administrators can look at.

Whoever does the work tells it step by step: `begin`, `report`, then `succeed` or `fail`, each a short
write. A server that died in the middle left operations unfinished; `recover` gives them their end at the
next start.
"""

from dataclasses import replace

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, Problem, Reason
from ingot.server.core.events import Progress
from ingot.server.core.identity import Caller
from ingot.server.core.operations import (
    FINAL_OPERATION_STATES,
    Operation,
    OperationMove,
    OperationState,
    next_state,
)
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.core.training_stores import OperationStore

KEPT_SECONDS = 90 * 24 * 3600.0


class Operations:
    """Keeps the rows of operations. Methods run inside a unit of work."""

    def __init__(
        self, store: OperationStore, counters: CounterStore, tokens: PageTokens, clock: Clock
    ) -> None:
        self._store = store
        self._counters = counters
        self._tokens = tokens
        self._clock = clock

    def begin(self, caller: Caller, kind: str, params: JsonObject, target: str = "") -> Operation:
        """Start an operation of the server now and return it RUNNING."""
        now = self._clock.now()
        operation = Operation(
            number=self._counters.next("op"),
            kind=kind,
            state=OperationState.QUEUED,
            requester=caller.principal,
            create_time=now,
            target=target,
            params=dict(params),
        )
        self._store.add(operation)
        return self._move(operation, OperationMove.BEGIN, attempt=1, start_time=now)

    def report(self, operation: str, progress: Progress) -> Operation:
        """Store how far an operation is, by its id. Raises NotFound (OPERATION_NOT_FOUND)."""
        before = self._find(operation)
        after = replace(before, progress=progress, revision=before.revision + 1)
        self._store.save(before, after)
        return after

    def succeed(self, operation: str, result: JsonObject) -> Operation:
        """End an operation with what it found or made. Raises NotFound, Precondition (STATE_INVALID)."""
        return self._move(self._find(operation), OperationMove.SUCCEED, result=dict(result))

    def fail(self, operation: str, problem: Problem) -> Operation:
        """End an operation with why it failed. Raises NotFound, Precondition (STATE_INVALID)."""
        return self._move(self._find(operation), OperationMove.FAIL, problem=problem)

    def recover(self) -> int:
        """Fail what an earlier run of the server left unfinished; return how many. Call once at the start."""
        left = self._store.unfinished()
        for operation in left:
            problem = Problem(
                Reason.INTERNAL,
                f"The server stopped while {operation.name} ({operation.kind}) was {operation.state}.",
                {"kind": operation.kind},
                "Nothing to do: upkeep runs again by itself.",
                self._clock.now(),
            )
            begun = operation.state in (OperationState.RUNNING, OperationState.CANCELLING)
            self._move(operation, OperationMove.FAIL if begun else OperationMove.CANCEL, problem=problem)
        self._store.forget(self._clock.now() - KEPT_SECONDS)
        return len(left)

    def get(self, caller: Caller, operation: str) -> Operation:
        """Return an operation by its id.

        Raises NotFound (OPERATION_NOT_FOUND), also when it is not theirs.
        """
        found = self._find(operation)
        if not caller.is_admin and found.requester != caller.principal:
            raise _not_found(operation)
        return found

    def page(
        self, caller: Caller, kind: str, state: OperationState | None, size: int, token: str
    ) -> Page[Operation]:
        """Return a page of operations, newest first; those of others are for administrators.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        query = f"ListOperations {caller.principal} {kind} {state}"
        after = self._tokens.decode(query, token)
        requester = None if caller.is_admin else caller.principal
        rows = self._store.page(requester, kind, state, int(after[0]) if after else None, size)
        return Page(tuple(rows.items), self._tokens.encode(query, rows.next_key) if rows.next_key else "")

    def _find(self, operation: str) -> Operation:
        found = self._store.find(operation)
        if found is None:
            raise _not_found(operation)
        return found

    def _move(
        self,
        operation: Operation,
        move: OperationMove,
        *,
        attempt: int | None = None,
        start_time: float | None = None,
        problem: Problem | None = None,
        result: JsonObject | None = None,
    ) -> Operation:
        state = next_state(operation.state, move)
        after = replace(
            operation,
            state=state,
            attempt=operation.attempt if attempt is None else attempt,
            start_time=operation.start_time or start_time,
            problem=problem,
            result=operation.result if result is None else result,
            finish_time=self._clock.now() if state in FINAL_OPERATION_STATES else None,
            revision=operation.revision + 1,
        )
        self._store.save(operation, after)
        return after


def _not_found(operation: str) -> NotFound:
    return NotFound(
        Reason.OPERATION_NOT_FOUND,
        f"There is no operation operations/{operation}, or it is not yours to see.",
        next_step="ListOperations shows those there are.",
        facts={"operation": operation},
    )
