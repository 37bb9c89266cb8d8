"""Wire ↔ core for approvals and for what they need."""

import math

from ingot.server.core import names
from ingot.server.core.approval_policies import (
    EVIDENCE,
    ApprovalPolicy,
    ApprovalState,
    MetricThreshold,
    digits,
)
from ingot.server.core.approvals import Approval, Evidence
from ingot.server.core.errors import invalid_field
from ingot.server.core.names import ArtifactName
from ingot.server.rpc import convert_common as common
from ingot.v1 import catalog_pb2

MOST_THRESHOLDS = 32
MOST_ALIASES = MOST_THRESHOLDS
METRIC_LIMIT = 100  # characters
_STATE = "APPROVAL_STATE_"


def policy_of(message: catalog_pb2.ApprovalPolicy, field: str) -> ApprovalPolicy:
    """Return a policy in its one form; `field` is where it is in the request. Raises Invalid."""
    for word in message.required_evidence:
        if word not in EVIDENCE:
            raise invalid_field(
                f"{field}.required_evidence", f"expected some of {', '.join(EVIDENCE)}, got {word[:40]!r}"
            )
    if len(message.thresholds) > MOST_THRESHOLDS or len(message.protected_aliases) > MOST_ALIASES:
        raise invalid_field(
            field, f"expected at most {MOST_THRESHOLDS} thresholds and {MOST_ALIASES} aliases"
        )
    aliases = [names.check_alias_id(each, f"{field}.protected_aliases") for each in message.protected_aliases]
    return ApprovalPolicy(
        tuple(word for word in EVIDENCE if word in message.required_evidence),
        tuple(_threshold_of(each, f"{field}.thresholds") for each in message.thresholds),
        tuple(dict.fromkeys(aliases)),
    )


def policy_message(found: ApprovalPolicy) -> catalog_pb2.ApprovalPolicy | None:
    """Return a policy, None for one that says nothing."""
    if found == ApprovalPolicy():
        return None
    return catalog_pb2.ApprovalPolicy(
        required_evidence=found.required_evidence,
        thresholds=[
            catalog_pb2.MetricThreshold(metric=each.metric, minimum=each.minimum, maximum=each.maximum)
            for each in found.thresholds
        ],
        protected_aliases=found.protected_aliases,
    )


def approval_message(found: Approval) -> catalog_pb2.Approval:
    """Return an approval."""
    return catalog_pb2.Approval(
        name=found.name,
        version=found.version,
        state=state(found.state),
        requester=found.requester,
        creator=found.creator,
        comment=found.comment,
        evidence=_evidence(found.evidence),
        create_time=common.timestamp(found.create_time),
        decider=found.decider,
        decision_comment=found.decision_comment,
        decide_time=common.timestamp(found.decide_time),
        etag=found.etag,
    )


def state(found: ApprovalState | None) -> catalog_pb2.ApprovalState.ValueType:
    """Return the state of an approval; unspecified for a version that nobody asked for."""
    if found is None:
        return catalog_pb2.APPROVAL_STATE_UNSPECIFIED
    return catalog_pb2.ApprovalState.Value(_STATE + found.value)


def state_of(value: catalog_pb2.ApprovalState.ValueType) -> ApprovalState | None:
    """Return the state that a list is narrowed to, None for all. Raises Invalid (FIELD_INVALID)."""
    if value not in catalog_pb2.ApprovalState.values():
        raise invalid_field("state", f"expected an ApprovalState, got {value}")
    return ApprovalState(catalog_pb2.ApprovalState.Name(value).removeprefix(_STATE)) if value else None


def approves(value: catalog_pb2.ApprovalDecision.ValueType) -> bool:
    """Return whether a decision approves. Raises Invalid (FIELD_INVALID) when nothing was decided."""
    if value == catalog_pb2.APPROVAL_DECISION_APPROVE:
        return True
    if value == catalog_pb2.APPROVAL_DECISION_DECLINE:
        return False
    raise invalid_field("decision", f"expected APPROVE or DECLINE, got {value}")


def parent_of(text: str) -> ArtifactName | str | None:
    """Return the artifact, or the id of the namespace, that a list is narrowed to. Raises Invalid."""
    if not text:
        return None
    if text.count("/") == 1:
        return names.namespace_id(text)
    return names.artifact_name(text, "parent")


def _threshold_of(message: catalog_pb2.MetricThreshold, field: str) -> MetricThreshold:
    low = message.minimum if message.HasField("minimum") else None
    high = message.maximum if message.HasField("maximum") else None
    if not 0 < len(message.metric) <= METRIC_LIMIT or not message.metric.isprintable():
        raise invalid_field(f"{field}.metric", f"expected the name of a metric, got {message.metric[:40]!r}")
    if any(value is not None and not math.isfinite(value) for value in (low, high)):
        raise invalid_field(field, "expected numbers, got one that is infinite or none")
    if low is not None and high is not None and low > high:
        raise invalid_field(
            field, f"expected a minimum below the maximum, got {digits(low)} and {digits(high)}"
        )
    return MetricThreshold(message.metric, low, high)


def _evidence(found: Evidence) -> catalog_pb2.Evidence:
    return catalog_pb2.Evidence(
        checks=[
            catalog_pb2.EvidenceCheck(
                name=check.name,
                passed=check.passed,
                required=check.required,
                expected=check.expected,
                found=check.found,
            )
            for check in found.checks
        ],
        sufficient=not found.missing,
        time=common.timestamp(found.time),
    )
