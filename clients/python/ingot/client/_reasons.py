"""Which error a reason means, wherever it comes from: a call that is refused, or a failure that was stored.

A refused call has a status code beside its reason, which decides for most (`_statuses.py`); a stored failure
has the reason alone (`_problems.py`).
"""

from ingot.client import _errors
from ingot.client._errors import IngotError

# Reasons whose status code, if they ever have one, would say less.
BY_REASON: dict[str, type[IngotError]] = {
    "CHUNK_HASH_MISMATCH": _errors.Integrity,
    "DIGEST_MISMATCH": _errors.Integrity,
    "SOURCE_ADDRESS_REFUSED": _errors.Denied,
    "SOURCE_CHANGED": _errors.SourceChanged,
    "SOURCE_MISMATCH": _errors.Integrity,
    "TLS_REQUIRED": _errors.Denied,
    "UNSAFE_CONTENT": _errors.Integrity,
    "VALIDATION_FAILED": _errors.Integrity,
}

_REASONS: dict[type[IngotError], str] = {
    _errors.Invalid: "FIELD_INVALID NAME_INVALID BAD_PATH FILTER_INVALID PAGE_TOKEN_INVALID BAD_LENGTH"
    " STREAM_UNFINISHED FORMAT_NOT_ALLOWED CONFIG_CONTRADICTION DATA_INVALID",
    _errors.OutOfRange: "RESUME_TOKEN_EXPIRED OFFSET_OUT_OF_RANGE",
    _errors.NotFound: "NAMESPACE_NOT_FOUND ARTIFACT_NOT_FOUND VERSION_NOT_FOUND ALIAS_NOT_FOUND"
    " FILE_NOT_FOUND UPLOAD_NOT_FOUND OPERATION_NOT_FOUND TRAINING_JOB_NOT_FOUND CHECKPOINT_NOT_FOUND"
    " WORKER_NOT_FOUND USER_NOT_FOUND TOKEN_NOT_FOUND GENERATION_NOT_FOUND APPROVAL_NOT_FOUND"
    " SOURCE_NOT_FOUND",
    _errors.AlreadyExists: "NAME_TAKEN NAME_COLLIDES",
    _errors.Conflict: "ETAG_MISMATCH VERSION_CONFLICT SEGMENT_CONFLICT",
    _errors.Precondition: "REQUEST_ID_REUSED STATE_INVALID IN_USE PROTECTED APPROVAL_REQUIRED NOT_FETCHED"
    " UPLOAD_CLOSED MISSING_CHUNKS EVIDENCE_MISSING ENVIRONMENT_MISSING ATTEMPT_OUTDATED"
    " CLIENT_TOO_OLD",
    _errors.DataLoss: "DATA_LOSS",
    _errors.LimitReached: "TOO_LARGE QUOTA BUSY DISK_LOW RATE_LIMITED LOGIN_LOCKED NO_WORKER OUT_OF_MEMORY",
    _errors.TimedOut: "TOO_SLOW TIMED_OUT",
    _errors.Unauthenticated: "TOKEN_MISSING TOKEN_INVALID TOKEN_EXPIRED LOGIN_FAILED",
    _errors.Denied: "SCOPE_MISSING SOURCE_DENIED",
    _errors.Unreachable: "SOURCE_UNREACHABLE DRAINING",
    _errors.ServerFault: "INTERNAL BODY_LOST PEER_LOST DIVERGED TRAINER_FAILED TRAINER_STALLED",
}
_KINDS = {reason: kind for kind, reasons in _REASONS.items() for reason in reasons.split()} | BY_REASON


def kind_of(reason: str) -> type[IngotError]:
    """Return the class of the error for a reason, without its prefix; ServerFault for an unknown one."""
    return _KINDS.get(reason, _errors.ServerFault)


def known() -> frozenset[str]:
    """Return the reasons that mean a certain error."""
    return frozenset(_KINDS)
