"""Errors on the wire: one table from the kind of an error to its status, and the details that travel along.

Every refusal is a google.rpc.Status whose first detail is an ErrorInfo: `reason` (an ErrorReason without its
prefix), domain "ingot", and metadata with the error's facts and, under `next_step`, what to do. BadRequest
follows when fields of the request are to blame, RetryInfo when waiting helps. A fault of the server says
nothing but an incident id, which the log has together with the whole story.
"""

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from ingot.server.core.errors import (
    AlreadyExists,
    Conflict,
    DataLoss,
    Denied,
    Exhausted,
    IngotError,
    Invalid,
    NotFound,
    OutOfRange,
    Precondition,
    Reason,
    TooSlow,
    Unauthenticated,
    Unavailable,
)

DOMAIN = "ingot"
NEXT_STEP = "next_step"  # key in the metadata of ErrorInfo
INCIDENT = "incident"  # likewise, for faults of the server
DETAILS_KEY = "grpc-status-details-bin"  # trailing metadata that carries the Status

STATUS_OF: dict[type[IngotError], grpc.StatusCode] = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    Conflict: grpc.StatusCode.ABORTED,
    Precondition: grpc.StatusCode.FAILED_PRECONDITION,
    OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Denied: grpc.StatusCode.PERMISSION_DENIED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    TooSlow: grpc.StatusCode.DEADLINE_EXCEEDED,
    DataLoss: grpc.StatusCode.DATA_LOSS,
}

_FACT_LIMIT = 400  # characters of one fact: all details together must fit into 8 KiB of trailing metadata
_MESSAGE_LIMIT = 1500
_FIELD_LIMIT = 12


def code_of(error: IngotError) -> grpc.StatusCode:
    """Return the status code of an error."""
    return next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)


def status_of(error: IngotError) -> status_pb2.Status:
    """Return the status that tells a client everything the error says."""
    facts = {key: _shortened(value, _FACT_LIMIT) for key, value in error.facts.items()}
    if error.next_step:
        facts[NEXT_STEP] = _shortened(error.next_step, _FACT_LIMIT)
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=facts)
    ]
    if error.fields:
        details.append(_bad_request(error))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return _status(code_of(error), _shortened(error.message, _MESSAGE_LIMIT), details)


def incident_status(incident: str) -> status_pb2.Status:
    """Return the status of a fault of the server: nothing but the id under which the log has it."""
    info = error_details_pb2.ErrorInfo(
        reason=Reason.INTERNAL.value,
        domain=DOMAIN,
        metadata={INCIDENT: incident, NEXT_STEP: "Tell whoever runs the server the incident id."},
    )
    text = f"The server failed; its log has the cause under incident {incident}."
    return _status(grpc.StatusCode.INTERNAL, text, [info])


def trailing(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """Return the trailing metadata that carries a status and its details."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def _bad_request(error: IngotError) -> error_details_pb2.BadRequest:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(
            field=problem.field,
            description=_shortened(problem.message, _FACT_LIMIT),
            reason=problem.reason.value,
        )
        for problem in error.fields[:_FIELD_LIMIT]
    ]
    return error_details_pb2.BadRequest(field_violations=violations)


def _status(code: grpc.StatusCode, text: str, details: list[message.Message]) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message=text)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
