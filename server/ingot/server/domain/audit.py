"""The audit log: entries are appended inside the write that they tell of, and the chain is checked.

    audit.append(deed)                  in that write: both become durable, or neither does
    audit.page(caller, …)               for administrators
    audit.check(caller, start, limit)   some entries further along the chain, in memory of a page

A log is whole when every entry fits its hash and follows the one before it, from the first to at least the
entry that each known head names: the one beside the database, and one that the caller kept elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.content import audit as canonical
from ingot.server.core.audit import (
    ALARM,
    KEY,
    RESTORE,
    AuditFilter,
    AuditStore,
    Deed,
    Entry,
    Fault,
    Finding,
    Head,
    chained,
    document_of,
    micros,
    server_deed,
)
from ingot.server.core.clock import Clock
from ingot.server.core.identity import SYSTEM, Caller
from ingot.server.core.pages import Page, PageTokens, fit, page_size

MOST_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class Stretch:
    """Entries that were checked: up to which one, and what was wrong among them."""

    number: int  # of the last one, or where it started when there were none
    hash: str
    findings: tuple[Finding, ...]
    restores: tuple[Entry, ...]  # entries that tell of a restored backup
    checked: int
    ended: bool  # there are no more


class Audit:
    """The rules of the log; every method runs inside a unit of work. `server` is the server's id."""

    def __init__(self, store: AuditStore, tokens: PageTokens, clock: Clock, server: str) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._server = server
        self.beginning = canonical.first_previous(server)

    def append(self, deed: Deed) -> Entry:
        """Add an entry in the write that runs now."""
        number, before = self._store.newest() or (0, self.beginning)
        entry = chained(number + 1, deed, before)
        self._store.add(entry)
        return entry

    def begun(self) -> bool:
        """Return whether the log was begun: from then on it has a head."""
        return self._store.begun()

    def begin(self) -> None:
        """Note that the log has a head from now on; inside a write."""
        self._store.begin()

    def changes(self) -> int:
        """Return a number that grows with every row that the write that runs now changes."""
        return self._store.changes()

    def head(self) -> Head:
        """Return the newest entry, as of now."""
        number, found = self._store.newest() or (0, self.beginning)
        return Head(self._server, number, found, micros(self._clock.now()))

    def note_key(self, key: str) -> None:
        """Enter that packs are encrypted with another key from now on, by its id; runs inside a write."""
        known = self._store.page(AuditFilter(principal=SYSTEM, action=KEY), None, 1, oldest_first=False)
        before = known[0].deed.facts.get("key", "") if known else ""
        if key != before:
            facts = {"key": key} | ({"before": before} if before else {})
            self.append(server_deed(self._clock.now(), KEY, facts, target="packs"))

    def page(
        self, caller: Caller, wanted: AuditFilter, *, size: int, token: str, oldest_first: bool
    ) -> Page[Entry]:
        """Return a page of entries, newest first unless told otherwise; for administrators.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        query = f"ListAuditEntries {wanted!r} {oldest_first}"
        key = self._tokens.decode(query, token)
        start = int(key[0]) if key else None
        found = self._store.page(wanted, start, size + 1, oldest_first=oldest_first)
        items, last = fit([(each.number, each) for each in found], size, _weight_of)
        return Page(items, self._tokens.encode(query, (last,)) if last else "")

    def check(self, number: int, hashed: str, limit: int) -> Stretch:
        """Check up to `limit` entries behind the one with this number and hash."""
        entries, start = self._store.after(number, limit), number
        findings: list[Finding] = []
        for entry in entries:
            findings += self._wrong(entry, number, hashed)
            number, hashed = entry.number, entry.hash
            if entry.deed.action == ALARM and not entry.deed.method:
                findings.append(_alarm(entry))
        changed = {each.number for each in findings if each.fault is Fault.CHANGED}
        findings += [_misplaced(each) for each in self._store.misplaced(start, number) if each not in changed]
        restores = (each for each in entries if each.deed.action == RESTORE and not each.deed.method)
        return Stretch(
            number,
            hashed,
            tuple(findings[:MOST_FINDINGS]),
            tuple(restores),
            len(entries),
            len(entries) < limit,
        )

    def compare(self, known: Head, name: str) -> Sequence[Finding]:
        """Return what is wrong with the log when `known` is a head of it; `name` says which, for people."""
        if known.server != self._server:
            return (
                Finding(
                    Fault.OTHER_HISTORY,
                    known.number,
                    f"{name} is of server {known.server}; this is server {self._server}.",
                ),
            )
        expected = self.hash_at(known.number)
        if expected == known.hash:
            return ()
        newest = self.head()
        if not expected:
            return (
                Finding(
                    Fault.CUT_OFF,
                    newest.number + 1,
                    f"The log ends with entry {newest.number}, but {name} names entry {known.number}: "
                    f"{known.number - newest.number} entries are missing at its end.",
                ),
            )
        return (
            Finding(
                Fault.OTHER_HISTORY,
                known.number,
                f"Entry {known.number} has the hash {expected}, but {name} says {known.hash}: the log was "
                "written anew.",
            ),
        )

    def hash_at(self, number: int) -> str:
        """Return the hash of an entry, of the beginning for 0; "" when there is no such entry."""
        return self._store.hash_of(number) if number else self.beginning

    def _wrong(self, entry: Entry, number: int, hashed: str) -> list[Finding]:
        found: list[Finding] = []
        if entry.number != number + 1:
            missing = f"{number + 1}" + (f" to {entry.number - 1}" if entry.number > number + 2 else "")
            found.append(
                Finding(Fault.MISSING, number + 1, f"Entry {missing} is missing before {entry.number}.")
            )
        if entry.previous != hashed:
            found.append(
                Finding(
                    Fault.BROKEN,
                    entry.number,
                    f"Entry {entry.number} follows {entry.previous}, but the entry before it has {hashed}.",
                )
            )
        document = document_of(entry.number, entry.time, entry.deed, entry.previous)
        if canonical.entry_hash(document) != entry.hash:
            found.append(
                Finding(
                    Fault.CHANGED, entry.number, f"Entry {entry.number} was changed: its hash is another."
                )
            )
        return found


def _weight_of(entry: Entry) -> int:
    """Return about how many characters an entry has on the wire, at least."""
    facts = entry.deed.facts
    return 1000 + sum(map(len, facts)) + sum(map(len, facts.values())) + 8 * len(facts)


def _misplaced(number: int) -> Finding:
    told = f"Entry {number} was changed: it is listed under a name that is not its target's."
    return Finding(Fault.CHANGED, number, told)


def _alarm(entry: Entry) -> Finding:
    found = entry.deed.facts.get("message", "the log is not what it was")
    return Finding(Fault.ALARM, entry.number, f"{canonical.time_text(entry.time)}: the server found: {found}")
