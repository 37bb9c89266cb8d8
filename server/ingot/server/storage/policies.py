"""Policies of artifacts as JSON in their rows; one that says nothing is empty text."""

import json
from dataclasses import asdict

from ingot.server.core.approval_policies import ApprovalPolicy, MetricThreshold
from ingot.server.core.artifacts import ValidationMode, ValidationPolicy
from ingot.server.core.params import Rules

_NOTHING, _NO_APPROVAL = ValidationPolicy(), ApprovalPolicy()  # what most artifacts have


def encode(policy: ValidationPolicy) -> str:
    """Return a policy as JSON text."""
    if policy == _NOTHING:
        return ""
    return json.dumps({"mode": policy.mode.value, "rules": policy.rules.document()}, ensure_ascii=False)


def decode(text: str) -> ValidationPolicy:
    """Return the policy from the text that `encode` made."""
    if not text:
        return _NOTHING
    fields = json.loads(text)
    return ValidationPolicy(ValidationMode(fields["mode"]), Rules.model_validate(fields["rules"]))


def encode_approval(policy: ApprovalPolicy) -> str:
    """Return a policy of approvals as JSON text."""
    return "" if policy == _NO_APPROVAL else json.dumps(asdict(policy), ensure_ascii=False)


def decode_approval(text: str) -> ApprovalPolicy:
    """Return the policy from the text that `encode_approval` made."""
    if not text:
        return _NO_APPROVAL
    fields = json.loads(text)
    return ApprovalPolicy(
        tuple(fields["required_evidence"]),
        tuple(MetricThreshold(**each) for each in fields["thresholds"]),
        tuple(fields["protected_aliases"]),
    )
