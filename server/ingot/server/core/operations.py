"""Operations: background work of the server, one row each, with the one function that changes their state.

QUEUED ──BEGIN──▶ RUNNING ──SUCCEED──▶ SUCCEEDED
  ▲                 │  ├───FAIL─────▶ FAILED ──AGAIN──▶ QUEUED
  │                 │  ├───RETRY────▶ RETRYING ──BEGIN──▶ RUNNING      (waits until it is due)
  │                 │  └───RELEASE──▶ QUEUED                           (the server stops in order)
  │                 └──CANCEL──▶ CANCELLING ──STOPPED──▶ CANCELLED ──AGAIN──▶ QUEUED
  └── RETRYING by AGAIN; QUEUED and RETRYING are CANCELLED at once

The row is the truth. Whoever runs an operation has claimed it: `attempt` grows with every claim, and each
write about the work names the attempt, so that one who lost the claim can change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.errors import Precondition, Problem, Reason
from ingot.server.core.events import Progress
from ingot.server.core.ids import etag_of


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
    RELEASE = "release"
    CANCEL = "cancel"
    STOPPED = "stopped"
    AGAIN = "again"


_S, _M = OperationState, OperationMove
_MOVES: dict[OperationMove, dict[OperationState, OperationState]] = {
    _M.BEGIN: {_S.QUEUED: _S.RUNNING, _S.RETRYING: _S.RUNNING},
    _M.SUCCEED: {_S.RUNNING: _S.SUCCEEDED, _S.CANCELLING: _S.SUCCEEDED},
    _M.FAIL: {_S.RUNNING: _S.FAILED, _S.CANCELLING: _S.CANCELLED},
    _M.RETRY: {_S.RUNNING: _S.RETRYING, _S.CANCELLING: _S.CANCELLED},
    _M.RELEASE: {_S.RUNNING: _S.QUEUED, _S.CANCELLING: _S.CANCELLED},
    _M.CANCEL: {
        _S.QUEUED: _S.CANCELLED,
        _S.RETRYING: _S.CANCELLED,
        _S.RUNNING: _S.CANCELLING,
        _S.CANCELLING: _S.CANCELLING,
    },
    _M.STOPPED: {_S.CANCELLING: _S.CANCELLED},
    _M.AGAIN: {_S.FAILED: _S.QUEUED, _S.CANCELLED: _S.QUEUED, _S.RETRYING: _S.QUEUED},
}
_WORDS = {_M.CANCEL: "be cancelled", _M.AGAIN: "be run again"}  # the moves that people ask for
FINAL_OPERATION_STATES = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED})
CLAIMED_STATES = frozenset({_S.RUNNING, _S.CANCELLING})
WAITING_STATES = frozenset({_S.QUEUED, _S.RETRYING})


def next_state(state: OperationState, move: OperationMove) -> OperationState:
    """Return the state after a move. Raises Precondition (STATE_INVALID) when it is not possible."""
    after = _MOVES[move].get(state)
    if after is None:
        raise Precondition(
            Reason.STATE_INVALID,
            f"An operation that is {state} cannot {_WORDS.get(move, move.value)}.",
            next_step="Start it again." if state in FINAL_OPERATION_STATES else "Wait for it, or cancel it.",
            facts={"state": state},
        )
    return after


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when failed work is tried again; times in seconds."""

    max_attempts: int = 5
    delay: float = 30.0
    multiplier: float = 1.0  # on the delay, after each try

    def pause(self, tries: int) -> float:
        """Return the seconds to wait after this many failed tries, at most a day."""
        return float(min(self.delay * self.multiplier ** max(tries - 1, 0), 24 * 3600.0))


@dataclass(frozen=True, slots=True)
class OperationOptions:
    """How an operation differs from others of its kind; None is as the kind has it."""

    priority: int = 0
    policy: RetryPolicy | None = None
    timeout: float | None = None  # seconds an attempt may last


@dataclass(frozen=True, slots=True)
class OperationDefaults:
    """What holds where neither the kind nor whoever asks says otherwise."""

    policy: RetryPolicy = RetryPolicy()
    timeout: float = 36_000.0  # seconds an attempt may last
    most_unfinished: int = 200  # of one principal that is no administrator; 0 is without limit


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation to be queued; unset options are those of its kind."""

    kind: str
    params: JsonObject = field(default_factory=dict)
    target: str = ""  # resource name it works on
    namespace: str = ""  # id of the one its body may write to; empty for the server itself
    reads: tuple[str, ...] = ()  # ids of more namespaces its body may read
    key: str = ""  # two operations with the same key are never unfinished at once
    options: OperationOptions = OperationOptions()
    for_all: bool = False  # runs in the name of the server, whoever asked for it


@dataclass(frozen=True, slots=True)
class Operation:
    """One piece of background work; times in epoch seconds, None when it has not happened."""

    number: int
    kind: str
    state: OperationState
    requester: str  # principal; `system` for the server itself
    create_time: float
    target: str = ""
    namespace: str = ""
    reads: tuple[str, ...] = ()
    guest: bool = False  # whoever asked did not belong to the namespace, as who fetches what is public
    queue: str = "maintenance"
    key: str = ""
    priority: int = 0
    policy: RetryPolicy = RetryPolicy()
    timeout: float = 36_000.0
    due_time: float = 0.0  # a waiting one may run from then on
    attempt: int = 0  # grows with every claim; the fence
    tries: int = 0  # attempts that count against the policy
    runner: str = ""  # who claimed it
    lease_time: float | None = None  # until then the claim holds without a beat
    attempt_time: float | None = None  # when this attempt began
    progress: Progress | None = None
    log_bytes: int = 0  # what its log lines take, as far as they are counted
    problem: Problem | None = None
    params: JsonObject = field(default_factory=dict)
    sealed: str = field(default="", repr=False)  # what of them is secret; gone once it has succeeded
    result: JsonObject = field(default_factory=dict)
    start_time: float | None = None
    finish_time: float | None = None
    change: int = 0  # number of its last change among the changes of all operations
    revision: int = 1

    @property
    def id(self) -> str:
        """Return the last part of its name."""
        return f"op_{self.number}"

    @property
    def name(self) -> str:
        """Return its resource name."""
        return f"operations/op_{self.number}"

    @property
    def etag(self) -> str:
        """Return the opaque tag that changes with every change."""
        return etag_of(self.name, self.revision)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in FINAL_OPERATION_STATES


class Standing(StrEnum):
    """What a beat tells whoever runs an operation."""

    GO_ON = "go on"
    CANCEL = "cancel"  # stop and say so
    LOST = "lost"  # another attempt owns it, or it has ended: stop and publish nothing


class OperationHook(Protocol):
    """What a feature does when one of its operations changes."""

    def moved(self, operation: Operation) -> None:
        """Take note of a change of state, inside the write that makes it; what it raises undoes both."""
        ...


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many operations of each queue run at once."""

    limits: Mapping[str, int]

    def of(self, queue: str) -> int:
        """Return the limit of one queue; 1 for one that is not set."""
        return self.limits.get(queue, 1)
