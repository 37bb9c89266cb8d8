"""Validation policies as JSON in their rows; one that says nothing is empty text."""

import json

from ingot.server.core.artifacts import ValidationMode, ValidationPolicy
from ingot.server.core.params import Rules


def encode(policy: ValidationPolicy) -> str:
    """Return a policy as JSON text."""
    if policy == ValidationPolicy():
        return ""
    return json.dumps({"mode": policy.mode.value, "rules": policy.rules.document()}, ensure_ascii=False)


def decode(text: str) -> ValidationPolicy:
    """Return the policy from the text that `encode` made."""
    if not text:
        return ValidationPolicy()
    fields = json.loads(text)
    return ValidationPolicy(ValidationMode(fields["mode"]), Rules.model_validate(fields["rules"]))
