"""Everything a call through the SDK can fail with.

    IngotError                    exit code 1
    ├── Invalid                   2  the request, a name or an option is malformed
    │   └── OutOfRange            2  past the end, or no longer kept
    ├── NotFound                  3  absent, or not yours to see
    ├── NotAllowed                4
    │   ├── Unauthenticated       4  no credential, or not a good one
    │   └── Denied                4  the credential may not, or must not travel in the clear
    ├── Conflict                  5  somebody else was first
    │   ├── AlreadyExists         5  the name is taken
    │   └── Precondition          5  not possible in the present state
    ├── Integrity                 6  bytes are not what they should be
    │   ├── DataLoss              6  stored bytes are gone or fail their digest
    │   └── SourceChanged         6  the files changed while they were read
    ├── LimitReached              7  quota, disk, rate or another limit
    ├── Stopped                   8
    │   ├── Cancelled             8  somebody cancelled the call
    │   └── TimedOut              8  it took longer than allowed
    ├── Unreachable               9  no server answers, ours or the source of an import
    └── ServerFault               1  a fault of the server; report it with its request id

`reason` is the name of an ErrorReason of the API without its prefix; `facts` hold the names and numbers
behind the message; `next_step` says what to do. `_statuses.py` makes these from what gRPC reports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of a request that cannot stand: its path and what is wrong with it."""

    field: str
    message: str


class IngotError(Exception):
    """Base of all failures. `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        facts: Mapping[str, str] | None = None,
        next_step: str = "",
        fields: Sequence[FieldProblem] = (),
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.facts: Mapping[str, str] = dict(facts or {})
        self.next_step = next_step
        self.fields = tuple(fields)
        self.request_id = request_id
        self.retry_after = retry_after


class Invalid(IngotError):
    """The request, a name or an option is malformed; sending it again will not help."""

    exit_code = 2


class OutOfRange(Invalid):
    """Past the end, or no longer kept."""


class NotFound(IngotError):
    """The thing is absent, or not yours to see."""

    exit_code = 3


class NotAllowed(IngotError):
    """Who calls may not do this."""

    exit_code = 4


class Unauthenticated(NotAllowed):
    """No credential was sent, or not a good one."""


class Denied(NotAllowed):
    """The credential may not do this, or must not travel in the clear."""


class Conflict(IngotError):
    """Somebody else changed it first; read again and decide."""

    exit_code = 5


class AlreadyExists(Conflict):
    """The name is taken."""


class Precondition(Conflict):
    """Not possible in the present state."""


class Integrity(IngotError):
    """Bytes are not what they should be."""

    exit_code = 6


class DataLoss(Integrity):
    """Bytes that the server stored are gone or fail their digest."""


class SourceChanged(Integrity):
    """The files changed while they were read."""


class LimitReached(IngotError):
    """A quota, a disk, a rate or another limit; `retry_after` seconds may help."""

    exit_code = 7


class Stopped(IngotError):
    """The call ended before its work did."""

    exit_code = 8


class Cancelled(Stopped):
    """Somebody cancelled the call."""


class TimedOut(Stopped):
    """The call took longer than allowed."""


class Unreachable(IngotError):
    """No server answers at the address, or it is shutting down, or the source of an import is silent."""

    exit_code = 9


class StoppedWaiting(KeyboardInterrupt):
    """Ctrl-C while a call waited for background work of the server, which goes on; no failure of anything."""

    def __init__(self, operation: str) -> None:
        super().__init__(f"The server goes on with {operation}.")
        self.operation = operation


class ServerFault(IngotError):
    """A fault of the server; report it with its request id."""
