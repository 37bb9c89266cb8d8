"""Everything the rules can refuse or fail with.

    IngotError
    ├── Invalid            the request is malformed                      INVALID_ARGUMENT
    ├── NotFound           absent, or not the caller's to see            NOT_FOUND
    ├── AlreadyExists      the name is taken                             ALREADY_EXISTS
    ├── Conflict           somebody else was first                       ABORTED
    ├── Precondition       not in the present state                      FAILED_PRECONDITION
    ├── OutOfRange         past the end, or no longer kept               OUT_OF_RANGE
    ├── Exhausted          a limit is reached                            RESOURCE_EXHAUSTED
    ├── Unauthenticated    no credential, or not a good one              UNAUTHENTICATED
    ├── Denied             the credential may not                        PERMISSION_DENIED
    ├── Unavailable        not now; trying again is safe                 UNAVAILABLE
    ├── TooSlow            the sender does not keep up                   DEADLINE_EXCEEDED
    └── DataLoss           stored bytes are gone or wrong                DATA_LOSS

An error is raised where it is known and carries facts; `rpc/errors.py` turns it into a status in one table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused: the ErrorReason of the API without its prefix (a test holds both equal)."""

    FIELD_INVALID = "FIELD_INVALID"
    NAME_INVALID = "NAME_INVALID"
    BAD_PATH = "BAD_PATH"
    FILTER_INVALID = "FILTER_INVALID"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"
    NAMESPACE_NOT_FOUND = "NAMESPACE_NOT_FOUND"
    ARTIFACT_NOT_FOUND = "ARTIFACT_NOT_FOUND"
    VERSION_NOT_FOUND = "VERSION_NOT_FOUND"
    ALIAS_NOT_FOUND = "ALIAS_NOT_FOUND"
    FILE_NOT_FOUND = "FILE_NOT_FOUND"
    UPLOAD_NOT_FOUND = "UPLOAD_NOT_FOUND"
    OPERATION_NOT_FOUND = "OPERATION_NOT_FOUND"
    TRAINING_JOB_NOT_FOUND = "TRAINING_JOB_NOT_FOUND"
    CHECKPOINT_NOT_FOUND = "CHECKPOINT_NOT_FOUND"
    WORKER_NOT_FOUND = "WORKER_NOT_FOUND"
    USER_NOT_FOUND = "USER_NOT_FOUND"
    TOKEN_NOT_FOUND = "TOKEN_NOT_FOUND"
    GENERATION_NOT_FOUND = "GENERATION_NOT_FOUND"
    APPROVAL_NOT_FOUND = "APPROVAL_NOT_FOUND"
    NAME_TAKEN = "NAME_TAKEN"
    NAME_COLLIDES = "NAME_COLLIDES"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    SEGMENT_CONFLICT = "SEGMENT_CONFLICT"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    STATE_INVALID = "STATE_INVALID"
    IN_USE = "IN_USE"
    PROTECTED = "PROTECTED"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    NOT_FETCHED = "NOT_FETCHED"
    UPLOAD_CLOSED = "UPLOAD_CLOSED"
    MISSING_CHUNKS = "MISSING_CHUNKS"
    EVIDENCE_MISSING = "EVIDENCE_MISSING"
    CHUNK_HASH_MISMATCH = "CHUNK_HASH_MISMATCH"
    BAD_LENGTH = "BAD_LENGTH"
    STREAM_UNFINISHED = "STREAM_UNFINISHED"
    DATA_LOSS = "DATA_LOSS"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    FORMAT_NOT_ALLOWED = "FORMAT_NOT_ALLOWED"
    TOO_LARGE = "TOO_LARGE"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    UNSAFE_CONTENT = "UNSAFE_CONTENT"
    QUOTA = "QUOTA"
    BUSY = "BUSY"
    DISK_LOW = "DISK_LOW"
    TOO_SLOW = "TOO_SLOW"
    RATE_LIMITED = "RATE_LIMITED"
    SOURCE_UNREACHABLE = "SOURCE_UNREACHABLE"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_DENIED = "SOURCE_DENIED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    SOURCE_MISMATCH = "SOURCE_MISMATCH"
    SOURCE_ADDRESS_REFUSED = "SOURCE_ADDRESS_REFUSED"
    CONFIG_CONTRADICTION = "CONFIG_CONTRADICTION"
    ENVIRONMENT_MISSING = "ENVIRONMENT_MISSING"
    NO_WORKER = "NO_WORKER"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    DIVERGED = "DIVERGED"
    PEER_LOST = "PEER_LOST"
    ATTEMPT_OUTDATED = "ATTEMPT_OUTDATED"
    TRAINER_FAILED = "TRAINER_FAILED"
    TRAINER_STALLED = "TRAINER_STALLED"
    DATA_INVALID = "DATA_INVALID"
    TIMED_OUT = "TIMED_OUT"
    BODY_LOST = "BODY_LOST"
    TOKEN_MISSING = "TOKEN_MISSING"
    TOKEN_INVALID = "TOKEN_INVALID"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    SCOPE_MISSING = "SCOPE_MISSING"
    LOGIN_LOCKED = "LOGIN_LOCKED"
    TLS_REQUIRED = "TLS_REQUIRED"
    CLIENT_TOO_OLD = "CLIENT_TOO_OLD"
    LOGIN_FAILED = "LOGIN_FAILED"
    RESUME_TOKEN_EXPIRED = "RESUME_TOKEN_EXPIRED"
    OFFSET_OUT_OF_RANGE = "OFFSET_OUT_OF_RANGE"
    DRAINING = "DRAINING"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of a request that cannot stand: its path in the message and what is wrong with it."""

    field: str
    message: str
    reason: Reason = Reason.FIELD_INVALID


@dataclass(frozen=True, slots=True)
class Problem:
    """A stored failure; `time` is epoch seconds."""

    reason: Reason
    message: str
    facts: Mapping[str, str]
    next_step: str
    time: float


class IngotError(Exception):
    """Base of all refusals and failures; raise one of its children.

    `message` says what happened, what was expected and what was found; `next_step` what to do; `facts` hold
    the names and numbers behind it; `retry_after` is in seconds where waiting helps.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        next_step: str = "",
        facts: Mapping[str, str] | None = None,
        fields: Sequence[FieldProblem] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.next_step = next_step
        self.facts: Mapping[str, str] = dict(facts or {})
        self.fields = tuple(fields)
        self.retry_after = retry_after

    def problem(self, now: float) -> Problem:
        """Return this error in the form in which failures are stored; `now` in epoch seconds."""
        return Problem(self.reason, self.message, self.facts, self.next_step, now)


class Invalid(IngotError):
    """The request is malformed; sending it again will not help."""


class NotFound(IngotError):
    """The thing is absent, or not the caller's to see."""


class AlreadyExists(IngotError):
    """The name is taken."""


class Conflict(IngotError):
    """Somebody else changed it first; read again and decide."""


class Precondition(IngotError):
    """Not possible in the present state."""


class OutOfRange(IngotError):
    """Past the end, or no longer kept."""


class Exhausted(IngotError):
    """A limit is reached; `retry_after` says when it may be better."""


class Unauthenticated(IngotError):
    """No credential, or not a good one."""


class Denied(IngotError):
    """The credential may not do this."""


class Unavailable(IngotError):
    """Not now; trying again is safe."""


class TooSlow(IngotError):
    """The sender does not keep up with the minimum rate."""


class DataLoss(IngotError):
    """Stored bytes are gone or fail their digest."""


def invalid_field(field: str, message: str, *, next_step: str = "", **facts: str) -> Invalid:
    """Return the error for one bad field: `field` is its path in the request."""
    return Invalid(
        Reason.FIELD_INVALID,
        f"{field}: {message}",
        next_step=next_step,
        facts={"field": field, **facts},
        fields=(FieldProblem(field, message),),
    )
