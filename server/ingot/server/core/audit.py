"""The audit log: who changed what, when and from where, as a chain of hashes that shows every change of it.

Each entry holds the hash of the entry before it (content/audit.py has the exact form). A head is the newest
entry at some time; the server signs it and keeps it beside the database, and others may keep it elsewhere: a
log that was cut off, or written anew, does not lead to a head that somebody else knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ingot.content import audit as canonical
from ingot.server.core.identity import SYSTEM

ALARM = "alarm"  # action of an entry: the log was not what a head of it says
RESTORE = "restore"  # action of an entry: the database was restored from a backup
KEY = "key"  # action of an entry: packs are encrypted with another key from now on
REFUSE = "refuse"  # action of an entry that counts refusals beyond those noted one by one


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done or refused, before it has a place in the log. `time` in epoch seconds."""

    time: float
    action: str  # create, update, delete, upload, …
    method: str  # CatalogService/CreateArtifact
    target: str  # name it was done to
    principal: str  # who, by credential; empty without a good one
    user: str  # id of the user behind the credential
    token: str  # name of the credential
    declared_user: str
    address: str
    client: str
    call_id: str
    code: str = "OK"  # or why it was refused
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `time` is in microseconds since the epoch, so that it has one form."""

    number: int
    time: int
    deed: Deed
    previous: str  # blake3:<hex>
    hash: str

    def document(self) -> dict[str, canonical.Value]:
        """Return it as it is hashed and exported, with its hash."""
        return {**document_of(self.number, self.time, self.deed, self.previous), "hash": self.hash}


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry at some time: number 0 and the beginning of the chain when there was none."""

    server: str  # server id
    number: int
    hash: str
    time: int  # microseconds since the epoch

    def document(self) -> dict[str, canonical.Value]:
        """Return it as it is signed."""
        return {
            "server": self.server,
            "number": self.number,
            "hash": self.hash,
            "time": canonical.time_text(self.time),
        }


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head with the signature of the server that had it."""

    head: Head
    key: str  # ed25519:<hex>
    signature: bytes


class Fault(StrEnum):
    """What may be wrong with a log."""

    CHANGED = "CHANGED"  # an entry does not fit its hash
    BROKEN = "BROKEN"  # an entry does not follow the one before it
    MISSING = "MISSING"  # numbers are missing
    CUT_OFF = "CUT_OFF"  # it ends before a head that is known
    OTHER_HISTORY = "OTHER_HISTORY"  # it has another entry where a head that is known says which
    BAD_HEAD = "BAD_HEAD"  # a head is not signed by this server
    NO_HEAD = "NO_HEAD"  # the file of the head is gone
    ALARM = "ALARM"  # one of those was found when the server looked, and stands in the log


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, at which entry."""

    fault: Fault
    number: int
    message: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; empty fields do not narrow it."""

    principal: str = ""
    target: str = ""  # of this name, or of one below it
    action: str = ""


class AuditStore(Protocol):
    """Rows of the log; all calls are made inside a unit of work."""

    def newest(self) -> tuple[int, str] | None:
        """Return number and hash of the newest entry."""
        ...

    def add(self, entry: Entry) -> None:
        """Append an entry, whose number must be one above the newest."""
        ...

    def hash_of(self, number: int) -> str:
        """Return the hash of an entry, "" when there is no such entry."""
        ...

    def after(self, number: int, limit: int) -> Sequence[Entry]:
        """Return up to `limit` entries with larger numbers, in their order."""
        ...

    def page(self, wanted: AuditFilter, start: int | None, limit: int, *, oldest_first: bool) -> list[Entry]:
        """Return up to `limit` entries behind the number `start` in the order asked for."""
        ...

    def misplaced(self, after: int, last: int) -> Sequence[int]:
        """Return numbers of entries between two that are listed under a name that is not theirs."""
        ...

    def begun(self) -> bool:
        """Return whether the log was begun: from then on it has a head."""
        ...

    def begin(self) -> None:
        """Note that it was begun."""
        ...

    def changes(self) -> int:
        """Return a number that grows with every row that this unit of work changes."""
        ...


class HeadFile(Protocol):
    """Where the signed head is kept outside of the database."""

    def read(self) -> SignedHead | None:
        """Return the head; None when the file is absent. Raises ValueError when it cannot be read."""
        ...

    def write(self, head: SignedHead) -> None:
        """Replace the head durably: after a crash there is the old one or the new one."""
        ...


class Signer(Protocol):
    """The key of the server."""

    @property
    def name(self) -> str:
        """The public key, `ed25519:<hex>`."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        ...


def document_of(number: int, time: int, deed: Deed, previous: str) -> dict[str, canonical.Value]:
    """Return what is hashed of an entry."""
    return {
        "number": number,
        "time": canonical.time_text(time),
        "action": deed.action,
        "method": deed.method,
        "target": deed.target,
        "principal": deed.principal,
        "user": deed.user,
        "token": deed.token,
        "declared_user": deed.declared_user,
        "address": deed.address,
        "client": deed.client,
        "request_id": deed.call_id,
        "code": deed.code,
        "facts": deed.facts,
        "previous": previous,
    }


def chained(number: int, deed: Deed, previous: str) -> Entry:
    """Return the entry that a deed becomes behind the entry with the hash `previous`."""
    time = micros(deed.time)
    return Entry(
        number, time, deed, previous, canonical.entry_hash(document_of(number, time, deed, previous))
    )


def server_deed(
    time: float, action: str, facts: dict[str, str], code: str = "OK", *, target: str = ""
) -> Deed:
    """Return what the server itself enters: what it does by itself, an alarm, a restored backup."""
    return Deed(
        time=time,
        action=action,
        method="",
        target=target,
        principal=SYSTEM,
        user="",
        token="",
        declared_user="",
        address="local",
        client="",
        call_id="",
        code=code,
        facts=facts,
    )


def micros(seconds: float) -> int:
    """Return epoch seconds in whole microseconds."""
    return round(seconds * 1_000_000)
