"""What an operation may be asked for: its parameters, their size, its options, and joining one that waits."""

import json
from collections.abc import Sequence

import pydantic

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.errors import Denied, Invalid, Precondition, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.kinds import OperationKind
from ingot.server.core.operations import (
    Operation,
    OperationOptions,
    RetryPolicy,
)

LARGEST_PRIORITY = 1000
LARGEST_ATTEMPTS = 100
LARGEST_SECONDS = 30 * 24 * 3600.0  # of delays and timeouts
LARGEST_PARAMS = 1024 * 1024  # bytes of JSON


def weight_of(operation: Operation) -> int:
    """Return about how many characters the operation has on the wire; reports of validations are long."""
    texts = (operation.params, operation.result)
    return 1000 + sum(len(json.dumps(values, ensure_ascii=False)) for values in texts if values)


def checked_params(kind: OperationKind, given: JsonObject) -> JsonObject:
    """Return parameters in the form of their kind. Raises Invalid (FIELD_INVALID)."""
    try:
        return kind.params_type.model_validate(given).document()
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, ("params", *first["loc"])))
        raise invalid_field(
            field,
            f"{first['msg']}, got {first['input']!r}"[:500],
            next_step=f"ListOperationKinds has the JSON Schema of the parameters of {kind.name}.",
        ) from error


def check_size(params: JsonObject) -> None:
    """Refuse parameters that are too long to keep. Raises Invalid (FIELD_INVALID)."""
    size = len(json.dumps(params, ensure_ascii=False).encode(errors="replace"))
    if size > LARGEST_PARAMS:
        raise Invalid(
            Reason.TOO_LARGE,
            f"What an operation is to do takes at most {LARGEST_PARAMS} bytes; this takes {size}.",
            next_step="Divide it into several, for example fewer files in each.",
            facts={"expected": str(LARGEST_PARAMS), "got": str(size)},
        )


def too_urgent(caller: Caller) -> Denied:
    """Return the error for a priority that is for administrators."""
    return Denied(
        Reason.SCOPE_MISSING,
        f"A priority above 0 is for administrators, which {caller.principal} is not.",
        next_step="Leave options.priority out, or let an administrator start it.",
        facts={"field": "options.priority"},
    )


def check_joined(found: Operation, options: OperationOptions) -> None:
    """Refuse options that the operation which does the same already does not have. Raises Precondition."""
    told = (
        ("priority", options.priority or None, found.priority),
        ("retry_policy", options.policy, found.policy),
        ("timeout", options.timeout, found.timeout),
    )
    others = [f"{name} {has}, not {asked}" for name, asked, has in told if asked not in (None, has)]
    if others:
        raise joined_otherwise(found, others)


def joined_otherwise(found: Operation, others: Sequence[str]) -> Precondition:
    """Return the refusal to join an operation that does the same in another way."""
    return Precondition(
        Reason.IN_USE,
        f"{found.name}, which is {found.state}, does that already, with {'; '.join(others)}.",
        next_step=f"Ask without these options to follow it, or cancel {found.name} and start again.",
        facts={"operation": found.name},
    )


def check_options(priority: int, policy: RetryPolicy, timeout: float) -> None:
    """Refuse options that no operation may have. Raises Invalid (FIELD_INVALID)."""
    for field, value, low, high in (
        ("options.priority", priority, -LARGEST_PRIORITY, LARGEST_PRIORITY),
        ("options.retry_policy.max_attempts", policy.max_attempts, 1, LARGEST_ATTEMPTS),
        ("options.retry_policy.delay", policy.delay, 0, LARGEST_SECONDS),
        ("options.retry_policy.multiplier", policy.multiplier, 1, 100),
        ("options.timeout", timeout, 1e-3, LARGEST_SECONDS),
    ):
        if not low <= value <= high:
            raise invalid_field(field, f"expected {low:g} to {high:g}, got {value:g}")
