"""What gRPC reports, turned into the errors of the SDK.

The server puts a google.rpc.Status into the trailing metadata: ErrorInfo (reason and facts, domain "ingot"),
BadRequest (fields) and RetryInfo. Without it, as when no server answers at all, the status code and its text
must do.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError

from ingot.client import _errors
from ingot.client._errors import FieldProblem, IngotError
from ingot.client._reasons import BY_REASON

NEXT_STEP = "next_step"
_DETAILS = "grpc-status-details-bin"

_KINDS: dict[grpc.StatusCode, type[IngotError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: _errors.Invalid,
    grpc.StatusCode.OUT_OF_RANGE: _errors.OutOfRange,
    grpc.StatusCode.NOT_FOUND: _errors.NotFound,
    grpc.StatusCode.UNAUTHENTICATED: _errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: _errors.Denied,
    grpc.StatusCode.ABORTED: _errors.Conflict,
    grpc.StatusCode.ALREADY_EXISTS: _errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: _errors.Precondition,
    grpc.StatusCode.DATA_LOSS: _errors.DataLoss,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _errors.LimitReached,
    grpc.StatusCode.CANCELLED: _errors.Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: _errors.TimedOut,
    grpc.StatusCode.UNAVAILABLE: _errors.Unreachable,
}
# What gRPC says when it cannot get through, and what a person can do about it.
_HINTS = (
    (
        r"(dns|name) resolution|errors resolving|name or service not known|getaddrinfo|domain name not found",
        "no machine of that name is known",
        "Check the spelling of the server's address, and that names can be looked up here.",
    ),
    (
        r"connection refused|no such file or directory",
        "nothing listens there",
        "Start a server with `ingot-server serve`, or check host and port of the address.",
    ),
    (
        r"certificate_verify_failed|certificate verify failed",
        "its certificate is not from an authority that is trusted here, or has ended",
        "Name the authority: `ingot login --ca FILE`, or INGOT_CA_FILE; `ingot-server certs` writes ca.pem.",
    ),
    (
        r"peer name .* not in peer certificate|hostname verification",
        "its certificate is for another name",
        "Use a name that the certificate has, or have one made for this name: ingot-server certs --host NAME",
    ),
    (
        r"certificate_required|bad_certificate|unknown_ca",
        "it wants a certificate of this client, and not this one",
        "Name it: `ingot login --cert FILE --key FILE`, or INGOT_CERT_FILE and INGOT_KEY_FILE.",
    ),
    (
        r"failed to connect to all addresses.*(socket closed|connection reset)",
        "something answers there, and closes the connection before it says a word",
        "If it speaks TLS, write https:// before its address; if it asks who you are, name INGOT_CERT_FILE.",
    ),
    (
        r"timed out before receiving settings",
        "something takes connections there and says nothing: a server that is very busy or stopped, or none",
        "Try again, then check the port, and whether https:// (TLS) or http:// (plain) is right.",
    ),
    (
        r"http1|http/1|unexpected end of stream|settings frame|ssl_error|wrong_version_number|handshake",
        "something answers there, but not an Ingot server with this kind of protection",
        "Check the port, and whether the address should start with https:// (TLS) or http:// (plain).",
    ),
    (
        r"timeout|timed out|deadline|unreachable|no route",
        "the machine does not answer",
        "Check the address and that no firewall blocks its port.",
    ),
)
# What gRPC says of calls that this program cancelled.
_CANCELLED_HERE = frozenset(["Locally cancelled by application!", "Channel closed!"])


@dataclass(slots=True)
class _Details:
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    fields: list[FieldProblem] = field(default_factory=list)
    retry_after: float | None = None


def error_of(failure: grpc.RpcError, request_id: str, where: str) -> IngotError:
    """Return the error for a failed call to the server at `where`."""
    code: grpc.StatusCode = failure.code()
    text: str = failure.details() or ""
    details = _details_of(failure)
    next_step = details.facts.pop(NEXT_STEP, "")
    if code is grpc.StatusCode.CANCELLED and not details.reason and text not in _CANCELLED_HERE:
        code = grpc.StatusCode.UNAVAILABLE  # a server that stops resets the calls that come meanwhile
    kind = kind_of(code, details.reason)
    if kind is _errors.Unreachable and not details.reason:
        text, next_step = _unreachable(text, where)
    elif kind is _errors.TimedOut and not details.reason:
        text = f"The server at {where} did not answer in time ({text})."
        next_step = "Try again, or allow more time; a firewall that drops packets also looks like this."
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        text, next_step = (
            f"The server at {where} does not know this call.",
            "Update the server or this client.",
        )
    return kind(
        text or code.name,
        reason=details.reason or code.name,
        facts=details.facts,
        next_step=next_step,
        fields=details.fields,
        request_id=request_id,
        retry_after=details.retry_after,
    )


def kind_of(code: grpc.StatusCode, reason: str) -> type[IngotError]:
    """Return the class of the error for a status code with a reason, which may be empty."""
    return BY_REASON.get(reason) or _KINDS.get(code, _errors.ServerFault)


def _details_of(call: grpc.RpcError) -> _Details:
    from google.rpc import error_details_pb2, status_pb2  # 20 ms, which calls that succeed do not need

    found = _Details()
    pairs: Iterable[tuple[str, str | bytes]] = call.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in pairs:
        if key != _DETAILS or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            continue  # a proxy's own; the status code still tells
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            bad = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                found.reason = info.reason
                found.facts.update(info.metadata)
            elif detail.Unpack(bad):
                found.fields += [FieldProblem(each.field, each.description) for each in bad.field_violations]
            elif detail.Unpack(retry):
                found.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return found


def _unreachable(text: str, where: str) -> tuple[str, str]:
    for pattern, meaning, next_step in _HINTS:
        if re.search(pattern, text, re.IGNORECASE):
            return f"Cannot reach the Ingot server at {where}: {meaning} ({text}).", next_step
    return f"Lost the connection to the Ingot server at {where} ({text}).", "Try again."


def is_unanswered(error: IngotError) -> bool:
    """Return whether the failure came from below: no Ingot server said anything."""
    return isinstance(error, _errors.Unreachable | _errors.TimedOut) and error.reason in (
        grpc.StatusCode.UNAVAILABLE.name,
        grpc.StatusCode.DEADLINE_EXCEEDED.name,
    )
