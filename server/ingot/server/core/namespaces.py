"""Namespaces, what they have stored, and how much they may; and the interface to the rows that count it.

*Size* is what its versions and checkpoints have together, each counted whole. *Stored* is what their chunks,
and those of its open uploads, take: every different chunk once, whoever else has it. So neither tells of
other namespaces. *Overhead* is what the rows of its manifests and the records of its chunks take, which is
more than the bytes where files are tiny: it counts together with *stored*. What lies in the trash counts
until it is purged, and what an aborted upload leased until that would have expired.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ingot.server.core.approval_policies import ApprovalPolicy

CHUNK_COST = 256  # bytes that a chunk takes beside its own: its record, and its rows in the index
_LEAST_STORED = 64 * 1024 * 1024  # of a quota that nobody has set


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many bytes a namespace may have; 0 is no limit.

    `stored` bounds stored bytes and overhead. Where only `size` is set, uploads that become nothing would
    have no bound: so `stored` is then twice as much.
    """

    size: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """What a namespace has, in bytes, and its own quotas; None where the server's default holds."""

    size: int = 0
    stored: int = 0
    size_quota: int | None = None
    stored_quota: int | None = None
    revision: int = 0
    overhead: int = 0

    @property
    def taken(self) -> int:
        """Return what the quota of stored bytes is compared with."""
        return self.stored + self.overhead

    def limits(self, defaults: Quotas) -> Quotas:
        """Return the quotas that hold for it."""
        size = defaults.size if self.size_quota is None else self.size_quota
        stored = defaults.stored if self.stored_quota is None else self.stored_quota
        return Quotas(size, stored or (max(2 * size, _LEAST_STORED) if size else 0))


@dataclass(frozen=True, slots=True)
class Namespace:
    """A person or a team: owns artifacts and counts what it stores."""

    id: str
    create_time: float
    account: Account
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)  # of all that it owns

    @property
    def name(self) -> str:
        """Return the resource name."""
        return f"namespaces/{self.id}"

    @property
    def etag(self) -> str:
        """Return what changes with its quotas."""
        return str(self.account.revision)


class Reservation:
    """Space that a stream has taken in advance. `Reservations` changes it; anybody may let go of it twice."""

    __slots__ = ("closed", "held", "namespace", "overhead", "size")

    def __init__(self, namespace: str, size: int, overhead: int = 0) -> None:
        self.namespace = namespace
        self.size = size
        self.overhead = overhead  # asked for at the start; what runs beside it does not see it
        self.held = False
        self.closed = False


class Reservations:
    """What running streams have reserved, by namespace. It is gone with the process, as the streams are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}

    def of(self, namespace: str) -> int:
        """Return the bytes that are reserved in a namespace."""
        with self._lock:
            return self._held.get(namespace, 0)

    def take(self, reservation: Reservation) -> None:
        """Reserve its bytes, unless its stream has ended already."""
        with self._lock:
            if not reservation.closed and not reservation.held:
                reservation.held = True
                self._held[reservation.namespace] = (
                    self._held.get(reservation.namespace, 0) + reservation.size
                )

    def release(self, reservation: Reservation) -> None:
        """Let go of its bytes; they cannot be taken again."""
        with self._lock:
            reservation.closed = True
            if reservation.held:
                reservation.held = False
                left = self._held[reservation.namespace] - reservation.size
                if left:
                    self._held[reservation.namespace] = left
                else:
                    del self._held[reservation.namespace]


class AccountStore(Protocol):
    """Accounts of namespaces. What they have is counted by the stores of versions, checkpoints and trees."""

    def account(self, namespace: str) -> Account:
        """Return the account of a namespace, an empty one when nothing was ever counted for it."""
        ...

    def find(self, namespace: str) -> Namespace | None:
        """Return a namespace."""
        ...

    def page(self, only: Collection[str] | None, after: str, size: int) -> Sequence[Namespace]:
        """Return up to `size` namespaces (None: of all) whose ids sort after `after`, in order."""
        ...

    def limit(self, namespace: str, size_quota: int | None, stored_quota: int | None) -> None:
        """Store its own quotas; None where the default holds."""
        ...

    def approval(self, namespace: str) -> ApprovalPolicy:
        """Return what approvals in a namespace need; nothing for one that says nothing."""
        ...

    def require(self, namespace: str, policy: ApprovalPolicy) -> None:
        """Store what approvals in a namespace need."""
        ...

    def recount(self, *, repair: bool) -> Sequence[str]:
        """Count everything anew, and return the namespaces whose account was wrong; correct it on demand."""
        ...
