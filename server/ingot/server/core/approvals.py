"""Approvals: a version becomes public through a request, evidence, and the decision of another person.

    PENDING ──APPROVE──▶ APPROVED
       ├──────DECLINE──▶ DECLINED
       └──────WITHDRAW─▶ WITHDRAWN     (by who asked, an owner, or because the version went away)

A version that was declined or withdrawn may be asked for again, which is another approval. The state of its
newest one is the version's own. Times are epoch seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ingot.server.core import ids
from ingot.server.core.approval_policies import ApprovalState
from ingot.server.core.errors import Precondition, Reason


class ApprovalMove(StrEnum):
    """What may happen to an approval."""

    APPROVE = "approve"
    DECLINE = "decline"
    WITHDRAW = "withdraw"


_AFTER = {
    ApprovalMove.APPROVE: ApprovalState.APPROVED,
    ApprovalMove.DECLINE: ApprovalState.DECLINED,
    ApprovalMove.WITHDRAW: ApprovalState.WITHDRAWN,
}
_DONE = {
    ApprovalState.APPROVED: "was approved",
    ApprovalState.DECLINED: "was declined",
    ApprovalState.WITHDRAWN: "was taken back",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    required: bool
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the server found out about a version."""

    checks: tuple[Check, ...] = ()
    time: float = 0.0

    @property
    def missing(self) -> tuple[Check, ...]:
        """The checks that an approval needs and that did not pass."""
        return tuple(check for check in self.checks if check.required and not check.passed)


@dataclass(frozen=True, slots=True)
class Approval:
    """A request to approve a version, and what became of it."""

    number: int  # 0 before it is stored
    version: str  # name
    version_uid: str
    namespace: str
    artifact_uid: str
    state: ApprovalState
    requester: str  # principal
    requester_user: str
    creator: str  # principal who made the version
    creator_user: str
    comment: str
    evidence: Evidence  # as of the request, then as of the decision
    create_time: float
    decider: str = ""  # principal
    decision_comment: str = ""
    decide_time: float | None = None
    revision: int = 0  # of what is said about the version, as it is now

    @property
    def name(self) -> str:
        """The resource name."""
        return f"approvals/approval_{self.number}"

    @property
    def etag(self) -> str:
        """What changes with every change, also of what is decided on and of what the evidence says."""
        return ids.etag_of(self.name, self.state, self.decide_time or 0, self.revision, self.evidence.checks)

    def is_of(self, user: str) -> bool:
        """Return whether a user asked for it or made its version, and so may not decide it."""
        return user in (self.requester_user, self.creator_user)


def next_state(approval: Approval, move: ApprovalMove) -> ApprovalState:
    """Return the state of an approval after `move`. Raises Precondition (STATE_INVALID) unless it waits."""
    if approval.state is not ApprovalState.PENDING:
        raise Precondition(
            Reason.STATE_INVALID,
            f"{approval.name} {_DONE[approval.state]}; expected one that waits.",
            next_step="Ask for another approval of the version if it needs one.",
            facts={"name": approval.name, "state": approval.state.value},
        )
    return _AFTER[move]


@dataclass(frozen=True, slots=True)
class ApprovalQuery:
    """Which approvals: in any of the namespaces (None is all)."""

    namespaces: tuple[str, ...] | None = None
    artifact_uid: str = ""
    state: ApprovalState | None = None
    not_of: str = ""  # id of a user who neither asked for it nor made the version


class ApprovalStore(Protocol):
    """Approvals, called inside a unit of work; those of versions that are purged stay."""

    def find(self, number: int) -> Approval | None:
        """Return an approval."""
        ...

    def add(self, approval: Approval) -> Approval:
        """Store a new approval, and its state with its version; return it with its number."""
        ...

    def save(self, approval: Approval) -> bool:
        """Store state and decision, and the state with the version, if it is PENDING; return whether."""
        ...

    def pending_of(self, version_uid: str) -> Approval | None:
        """Return the approval of a version that waits."""
        ...

    def pending_in(self, artifact_uid: str) -> Sequence[Approval]:
        """Return all approvals of versions of an artifact that wait."""
        ...

    def page(self, query: ApprovalQuery, before: int | None, limit: int) -> Sequence[Approval]:
        """Return up to `limit` approvals, newest first, with numbers below `before`."""
        ...
