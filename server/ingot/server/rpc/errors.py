"""Errors on the wire: one table from the kind of an error to its status, and the details that travel along.

Every refusal is a google.rpc.Status whose first detail is an ErrorInfo: `reason` (an ErrorReason without its
prefix), domain "ingot", and metadata with the error's facts and, under `next_step`, what to do. BadRequest
follows when fields of the request are to blame, RetryInfo when waiting helps. A fault of the server says
nothing but an incident id, which the log has together with the whole story. What a caller sent may be quoted:
control characters and those that turn the direction of writing are written out.
"""

import re

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

# Limits in bytes and counts: all trailing metadata together must stay below 8 KiB, or peers refuse it. The
# message is in there twice, once with three bytes for each that is not ASCII.
_MESSAGE_LIMIT = 500
_NEXT_STEP_LIMIT = 300
_NAME_LIMIT = 60
_VALUE_LIMIT = 150
_FACT_COUNT = 12
_FIELD_COUNT = 6
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def code_of(error: IngotError) -> grpc.StatusCode:
    """Return the status code of an error."""
    return next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)


def status_of(error: IngotError) -> status_pb2.Status:
    """Return the status that tells a client everything the error says."""
    facts = {
        _shortened(name, _NAME_LIMIT): _shortened(value, _VALUE_LIMIT)
        for name, value in list(error.facts.items())[:_FACT_COUNT]
    }
    if error.next_step:
        facts[NEXT_STEP] = _shortened(error.next_step, _NEXT_STEP_LIMIT)
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
            field=_shortened(problem.field, _NAME_LIMIT),
            description=_shortened(problem.message, _VALUE_LIMIT),
            reason=problem.reason.value,
        )
        for problem in error.fields[:_FIELD_COUNT]
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
    """Return the text, safe to show and cut so that it takes at most `limit` bytes as UTF-8."""
    raw = _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text[:limit]).encode()
    if len(raw) <= limit and len(text) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode(errors="ignore") + "…"
