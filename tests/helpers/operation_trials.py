"""What can go wrong with a running operation and how each must end: for tests, and for trials in numbers."""

import dataclasses
import os
import signal
from collections.abc import Callable

from helpers.runners import AT_ONCE, RunnerRig
from ingot.server.core.errors import Reason
from ingot.server.core.operations import Operation, OperationState, RetryPolicy

S = OperationState
Act = Callable[[RunnerRig, Operation], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One way to go wrong: the mode of the body, what is done to it, and how the operation ends."""

    name: str
    mode: str
    state: OperationState
    attempts: int
    reason: Reason | None = None
    act: Act | None = None
    policy: RetryPolicy = AT_ONCE
    timeout: float = 60.0
    silent: bool = False  # it is its lease that tells


def _kill(rig: RunnerRig, operation: Operation) -> None:
    os.killpg(rig.begun(operation), signal.SIGKILL)


def _freeze(rig: RunnerRig, operation: Operation) -> None:
    os.killpg(rig.begun(operation), signal.SIGSTOP)


def _cancel(rig: RunnerRig, operation: Operation) -> None:
    rig.begun(operation)
    rig.cancel(operation)


def _freeze_and_cancel(rig: RunnerRig, operation: Operation) -> None:
    _freeze(rig, operation)
    rig.cancel(operation)


_TWICE = RetryPolicy(2, 0.0)

CASES = (
    Case("killed (SIGKILL) once", "wait*1", S.SUCCEEDED, 2, act=_kill),
    Case("frozen (SIGSTOP) once", "wait*1", S.SUCCEEDED, 2, act=_freeze, silent=True),
    Case(
        "freezes itself in each attempt", "freeze", S.FAILED, 2, Reason.BODY_LOST, policy=_TWICE, silent=True
    ),
    Case("kills itself in each attempt", "poison", S.FAILED, 5, Reason.BODY_LOST),
    Case("kills itself twice, then works", "poison*2", S.SUCCEEDED, 3),
    Case("ends without a word", "exit", S.FAILED, 2, Reason.BODY_LOST, policy=_TWICE),
    Case("fails three times, then works", "fail*3", S.SUCCEEDED, 4),
    Case("fails for good", "refuse", S.FAILED, 1, Reason.SOURCE_UNREACHABLE),
    Case("takes too long", "late", S.FAILED, 2, Reason.TIMED_OUT, policy=_TWICE, timeout=1.5),
    Case("takes too long, ignores SIGTERM", "stubborn*1", S.SUCCEEDED, 2, timeout=5.0),
    Case("cancelled", "wait", S.CANCELLED, 1, act=_cancel),
    Case("cancelled, ignores SIGTERM", "stubborn", S.CANCELLED, 1, act=_cancel),
    Case("cancelled while frozen", "wait", S.CANCELLED, 1, act=_freeze_and_cancel),
    Case("reports nonsense, then its result", "garbage", S.SUCCEEDED, 1),
    Case("gives a result of another kind", "liar", S.FAILED, 1, Reason.INTERNAL),
    Case("leaves a child behind", "orphan", S.SUCCEEDED, 1),
)


def begin(rig: RunnerRig, case: Case) -> Operation:
    """Start a case and do to it what it is about."""
    operation = rig.enqueue(case.mode, policy=case.policy, timeout=case.timeout)
    if case.act is not None:
        case.act(rig, operation)
    return operation
