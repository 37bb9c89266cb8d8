"""Operations: background work of the server, one row each, with the one function that changes their state.

QUEUED ──BEGIN──▶ RUNNING ──SUCCEED──▶ SUCCEEDED
                    │  ├───FAIL─────▶ FAILED         (a server that dies leaves RUNNING: recovery fails it)
                    │  └───RETRY────▶ RETRYING ──BEGIN──▶ RUNNING
                    └──CANCEL──▶ CANCELLING ──STOPPED──▶ CANCELLED
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ingot.server.core.errors import Precondition, Problem, Reason
from ingot.server.core.events import Progress
from ingot.server.core.ids import etag_of

Json = str | int | float | bool | None


class OperationState(StrEnum):
    """State of an operation."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class OperationMove(StrEnum):
    """What may happen to an operation."""

    BEGIN = "begin"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"
    CANCEL = "cancel"
    STOPPED = "stopped"


_S, _M = OperationState, OperationMove
_MOVES: dict[OperationMove, dict[OperationState, OperationState]] = {
    _M.BEGIN: {_S.QUEUED: _S.RUNNING, _S.RETRYING: _S.RUNNING},
    _M.SUCCEED: {_S.RUNNING: _S.SUCCEEDED, _S.CANCELLING: _S.SUCCEEDED},
    _M.FAIL: {_S.RUNNING: _S.FAILED, _S.CANCELLING: _S.CANCELLED},
    _M.RETRY: {_S.RUNNING: _S.RETRYING, _S.CANCELLING: _S.CANCELLED},
    _M.CANCEL: {
        _S.QUEUED: _S.CANCELLED,
        _S.RETRYING: _S.CANCELLED,
        _S.RUNNING: _S.CANCELLING,
        _S.CANCELLING: _S.CANCELLING,
    },
    _M.STOPPED: {_S.CANCELLING: _S.CANCELLED},
}
FINAL_OPERATION_STATES = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED})


def next_state(state: OperationState, move: OperationMove) -> OperationState:
    """Return the state after a move. Raises Precondition (STATE_INVALID) when it is not possible."""
    after = _MOVES[move].get(state)
    if after is None:
        raise Precondition(
            Reason.STATE_INVALID, f"An operation that is {state} cannot {move}.", facts={"state": state}
        )
    return after


@dataclass(frozen=True, slots=True)
class Operation:
    """One piece of background work; times in epoch seconds, None when it has not happened."""

    number: int
    kind: str
    state: OperationState
    requester: str
    create_time: float
    target: str = ""
    queue: str = "maintenance"
    attempt: int = 0
    progress: Progress | None = None
    problem: Problem | None = None
    params: Mapping[str, Json] = field(default_factory=dict)
    result: Mapping[str, Json] = field(default_factory=dict)
    start_time: float | None = None
    finish_time: float | None = None
    revision: int = 1

    @property
    def name(self) -> str:
        """Return its resource name."""
        return f"operations/op_{self.number}"

    @property
    def etag(self) -> str:
        """Return the opaque tag that changes with every change."""
        return etag_of(self.name, self.revision)
