"""Heads of the audit log: what shows that entries at its end were cut off, or all of them written anew.

    begin       at the start, before any call: is the log what the head beside the database says?
    keep        every few seconds and at the end: sign the newest entry and keep it beside the database
    compare     a head that somebody kept elsewhere

When the log is not what the kept head says, that is an entry of the log itself, so that the next head does
not cover it up: whoever verifies finds it for ever. A restored backup is an entry, too, and no alarm.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import ParamSpec, Protocol, TypeVar

from ingot.content import audit as canonical
from ingot.server.core.audit import (
    ALARM,
    RESTORE,
    Fault,
    Finding,
    Head,
    HeadFile,
    SignedHead,
    Signer,
    server_deed,
)
from ingot.server.core.clock import Clock
from ingot.server.domain.audit import Audit

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

_AT_ONCE = 2000  # entries in one read
Settle = Callable[[Mapping[str, str]], dict[str, str]]  # facts of a restored backup: what was done about it
HasSigned = Callable[[str, bytes, bytes], bool]  # key, signature, message


class Units(Protocol):
    """Runs rules in units of work; the database."""

    def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` with one consistent view of all rows."""
        ...

    def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue `fn` for the writer; the future resolves when its changes are durable."""
        ...


class AuditHeads:
    """Keeps and compares heads. `begin` and `keep` wait for files and rows: they run on a thread for that."""

    def __init__(
        self,
        audit: Audit,
        units: Units,
        file: HeadFile,
        signer: Signer,
        has_signed: HasSigned,
        clock: Clock,
    ) -> None:
        self._audit = audit
        self._units = units
        self._file = file
        self._signer = signer
        self._has_signed = has_signed
        self._clock = clock
        self._kept: Head | None = None
        self._told = ""

    @property
    def alarm(self) -> str:
        """What was wrong with the log since the start, "" when nothing was."""
        return self._told

    def begin(self, restored: Mapping[str, str], settle: Settle = lambda restored: {}) -> dict[str, str]:
        """Compare the log with the kept head, and keep a new one; `restored` tells of a restored backup.

        What such a one brought is settled in the write of its entry; returns what `settle` said.
        """
        finding = self._units.read(self._compare_kept)
        settled: dict[str, str] = {}
        if restored:
            facts = dict(restored) | ({"missing_since": finding.message} if finding else {})
            settled = self._units.write(self._restored, facts, settle).result()
        elif finding is not None:
            self._alarm(finding)
        self.keep()
        if not self._units.read(self._audit.begun):
            self._units.write(self._audit.begin).result()  # only now: a crash before leaves no false alarm
        return settled

    def keep(self) -> None:
        """Keep the newest entry as signed head, unless that is kept already.

        Log and file are compared with the head before: while the server runs, nobody else should change them.
        """
        if self._kept is not None and (finding := self._units.read(self._changed, self._kept)) is not None:
            self._kept = None
            self._alarm(finding)
        head = self._units.read(self._audit.head)
        if self._kept is None or head.number != self._kept.number:
            self._file.write(self.signed(head))
            self._kept = head

    def signed(self, head: Head) -> SignedHead:
        """Return a head with the signature of this server."""
        message = canonical.head_message(head.document())
        return SignedHead(head, self._signer.name, self._signer.sign(message))

    def compare(self, known: SignedHead) -> list[Finding]:
        """Return what is wrong when the log should lead to this head; runs inside a read."""
        message = canonical.head_message(known.head.document())
        ours = known.key == self._signer.name and self._has_signed(known.key, known.signature, message)
        if not ours:
            told = (
                f"The head of entry {known.head.number} is not signed by this server ({self._signer.name})."
            )
            return [Finding(Fault.BAD_HEAD, known.head.number, told)]
        return list(self._audit.compare(known.head, "the head that you know"))

    def compare_kept(self) -> list[Finding]:
        """Return what is wrong when the log should lead to the head beside it; runs inside a read."""
        finding = self._compare_kept()
        return [finding] if finding is not None else []

    def whole(self, *, restored: bool = False) -> Iterator[Finding]:
        """Check all entries and the kept head, which a restored backup has none of; yield what is wrong."""
        number, hashed, ended = 0, self._audit.beginning, False
        while not ended:
            stretch = self._units.read(self._audit.check, number, hashed, _AT_ONCE)
            yield from stretch.findings
            number, hashed, ended = stretch.number, stretch.hash, stretch.ended
        if not restored:
            yield from self._units.read(self.compare_kept)

    def _compare_kept(self) -> Finding | None:
        try:
            kept = self._file.read()
        except ValueError as error:
            return Finding(Fault.NO_HEAD, 0, f"The file of the head of the log cannot be read: {error}.")
        if kept is None:
            number = self._audit.head().number
            if not number and not self._audit.begun():
                return None  # a folder that was never served
            told = f"The log has {number} entries, but the file of its head is gone."
            return Finding(Fault.NO_HEAD, number, told)
        message = canonical.head_message(kept.head.document())
        if not self._has_signed(self._signer.name, kept.signature, message):
            told = "The kept head is not signed by this server; its file or the server's key was replaced."
            return Finding(Fault.BAD_HEAD, kept.head.number, told)
        return self._lost(kept.head)

    def _changed(self, kept: Head) -> Finding | None:
        return self._lost(kept) or self._compare_kept()

    def _restored(self, facts: dict[str, str], settle: Settle) -> dict[str, str]:
        settled = settle(facts)
        self._audit.append(server_deed(self._clock.now(), RESTORE, facts | settled))
        return settled

    def _lost(self, kept: Head) -> Finding | None:
        return next(iter(self._audit.compare(kept, "the head kept beside the database")), None)

    def _alarm(self, finding: Finding) -> None:
        self._told = finding.message
        log.error("audit.alarm fault=%s entry=%d message=%s", finding.fault, finding.number, finding.message)
        facts = {"fault": finding.fault.value, "entry": str(finding.number), "message": finding.message}
        self._enter(ALARM, facts)

    def _enter(self, action: str, facts: dict[str, str]) -> None:
        self._units.write(self._audit.append, server_deed(self._clock.now(), action, facts)).result()
