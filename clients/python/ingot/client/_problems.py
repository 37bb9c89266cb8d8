"""Stored failures as errors: what failed in the background raises what a call would have raised for it."""

from ingot.client import _errors, _reasons
from ingot.client._errors import IngotError
from ingot.v1 import common_pb2, errors_pb2, operations_pb2

FINAL_OPERATION_STATES = frozenset(
    {
        operations_pb2.OPERATION_STATE_SUCCEEDED,
        operations_pb2.OPERATION_STATE_FAILED,
        operations_pb2.OPERATION_STATE_CANCELLED,
    }
)


def error_of(problem: common_pb2.Problem, **facts: str) -> IngotError:
    """Return the error for a stored failure; `facts` are added to its own."""
    number = problem.reason
    known = number in errors_pb2.ErrorReason.values()
    reason = errors_pb2.ErrorReason.Name(number).removeprefix("ERROR_REASON_") if known else ""
    return _reasons.kind_of(reason)(
        problem.message or reason,
        reason=reason,
        facts={**problem.facts, **facts},
        next_step=problem.next_step,
    )


def ended(operation: operations_pb2.Operation) -> bool:
    """Return whether nothing more happens to an operation by itself."""
    return operation.state in FINAL_OPERATION_STATES


def check(operation: operations_pb2.Operation) -> None:
    """Raise what kept an operation that has ended from its result; return when it succeeded."""
    name = operation.name
    if operation.state == operations_pb2.OPERATION_STATE_CANCELLED:
        raise _errors.Cancelled(
            f"{name} was cancelled.",
            reason="CANCELLED",
            facts={"operation": name},
            next_step=f"Run it again: ingot operations retry {name.removeprefix('operations/')}",
        )
    if operation.state == operations_pb2.OPERATION_STATE_FAILED:
        raise error_of(operation.problem, operation=name)
