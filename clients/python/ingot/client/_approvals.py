"""Approvals: ask for one, decide, take it back; and what the approvals of an artifact need.

client.approvals.request("models/tiny@3", "better on short texts")
for waiting in client.approvals.list(inbox=True):
    client.approvals.decide(waiting.name, approve=True, comment="figures checked")
"""

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf import field_mask_pb2

from ingot.client import _pages
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._errors import Invalid
from ingot.client._names import Names
from ingot.client._references import Reference
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import catalog_pb2_grpc

_STATE = "APPROVAL_STATE_"


class Approvals:
    """Calls of CatalogService about approvals; names may be given as `approvals/approval_3` or `3`."""

    def __init__(self, link: Link, calls: Calls, names: Names) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(link.channel)
        self._calls = calls
        self._names = names

    def request(self, ref: str | Reference, comment: str = "") -> pb.Approval:
        """Ask for the approval of a version; the one that waits already is returned instead."""
        request = pb.RequestApprovalRequest(
            version=self._names.version(ref), comment=comment, request_id=new_id()
        )
        return self._calls.unary(self._stub.RequestApproval, request).approval

    def decide(self, name: str, *, approve: bool, comment: str, etag: str = "") -> pb.Approval:
        """Approve or decline what waits, and say why."""
        decision = pb.APPROVAL_DECISION_APPROVE if approve else pb.APPROVAL_DECISION_DECLINE
        request = pb.DecideApprovalRequest(
            name=name_of(name), decision=decision, comment=comment, etag=etag, request_id=new_id()
        )
        return self._calls.unary(self._stub.DecideApproval, request).approval

    def withdraw(self, name: str) -> pb.Approval:
        """Take back what waits."""
        request = pb.WithdrawApprovalRequest(name=name_of(name), request_id=new_id())
        return self._calls.unary(self._stub.WithdrawApproval, request).approval

    def get(self, name: str) -> pb.Approval:
        """Return one with its evidence and decision."""
        return self._calls.unary(self._stub.GetApproval, pb.GetApprovalRequest(name=name_of(name))).approval

    def list(
        self,
        ref: str | Reference = "",
        *,
        state: str = "",
        inbox: bool = False,
        limit: int | None = None,
    ) -> Iterator[pb.Approval]:
        """Yield what one may see, newest first: of an artifact, or all; `inbox` is what one may decide now.

        `state` is pending, approved, declined or withdrawn.
        """
        parent = self._names.artifact(ref) if ref else ""
        wanted = state_of(state) if state else pb.APPROVAL_STATE_UNSPECIFIED

        def page(size: int, token: str) -> tuple[Sequence[pb.Approval], str]:
            request = pb.ListApprovalsRequest(
                parent=parent, state=wanted, inbox=inbox, page_size=size, page_token=token
            )
            reply = self._calls.unary(self._stub.ListApprovals, request)
            return reply.approvals, reply.next_page_token

        return _pages.walk(page, limit)

    def set_policy(self, ref: str | Reference, policy: pb.ApprovalPolicy, *, etag: str = "") -> pb.Artifact:
        """Set what approvals of an artifact's versions need beyond what the server asks for."""
        wanted = pb.Artifact(name=self._names.artifact(ref), approval=policy, etag=etag)
        request = pb.UpdateArtifactRequest(
            artifact=wanted, update_mask=field_mask_pb2.FieldMask(paths=["approval"]), request_id=new_id()
        )
        return self._calls.unary(self._stub.UpdateArtifact, request).artifact


def approval_policy(
    required_evidence: Sequence[str] = (),
    thresholds: Mapping[str, tuple[float | None, float | None]] | None = None,
    protected_aliases: Sequence[str] = (),
) -> pb.ApprovalPolicy:
    """Return a policy: evidence by name, (minimum, maximum) by metric, aliases for approved versions."""
    return pb.ApprovalPolicy(
        required_evidence=required_evidence,
        thresholds=[
            pb.MetricThreshold(metric=metric, minimum=low, maximum=high)
            for metric, (low, high) in (thresholds or {}).items()
        ],
        protected_aliases=protected_aliases,
    )


def name_of(text: str) -> str:
    """Return the long name of an approval given as `3`, `approval_3` or in full."""
    bare = text.removeprefix("approvals/").removeprefix("approval_")
    return f"approvals/approval_{bare}" if bare.isdigit() else text


def state_of(word: str) -> pb.ApprovalState.ValueType:
    """Return the state of this name. Raises Invalid."""
    name = _STATE + word.upper()
    known = list(pb.ApprovalState.keys())[1:]  # the first is unspecified
    if name not in known:
        words = ", ".join(each.removeprefix(_STATE).lower() for each in known)
        raise Invalid(
            f"state: expected one of {words}, got {word!r}.",
            reason="FIELD_INVALID",
            next_step="Use pending for example.",
        )
    return pb.ApprovalState.Value(name)
