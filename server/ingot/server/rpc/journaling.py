"""Writes down what calls do: an entry of the audit log in the write that does it, once for each call.

    write = journaling.around(call, fn)          # what Hops queues in place of fn

An entry is made when the write changed rows. With it goes the row that the list of activities shows, so that
after a crash every change that was acknowledged is in both. What is refused, and what a call changed that
ended before its act, has no write to be in: it is gathered and written by `usage_storing.store`, in bounded
numbers.

What the server does by itself has no call: a rule says which of it is an act, which has an entry by `system`.

An administrator who uses another's private thing leaves an entry even when nothing changes; for a read that
is a write of its own, before the answer.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from ingot.server.core import audit, journal
from ingot.server.core.audit import Deed
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Reason
from ingot.server.core.journal import Note
from ingot.server.core.labels import label_of
from ingot.server.core.usage import Activity
from ingot.server.rpc.calls import Call

T = TypeVar("T")

MOST_REFUSED = 200  # that wait to be written; a flood of refusals must not fill the log
_REFUSALS = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED"})


class Log(Protocol):
    """The rules of the audit log, as far as they are needed here."""

    def append(self, deed: Deed) -> object:
        """Add an entry in the write that runs now."""
        ...

    def changes(self) -> int:
        """Return a number that grows with every row that this unit of work changes."""
        ...


class Record(Protocol):
    """The list of activities, as far as it is needed here."""

    def begun(self, activity: Activity) -> int:
        """Add a call to the list in the write that runs now; return the id of its row."""
        ...


@dataclasses.dataclass(frozen=True)
class Waiting:
    """What has no write to be in: entries, and how many more there would be."""

    deeds: list[Deed]
    more: int


class Journaling:
    """Makes the entries of calls; one object for a server."""

    def __init__(self, log: Log, record: Record, clock: Clock) -> None:
        self._log = log
        self._record = record
        self._clock = clock
        self._waiting: list[Deed] = []
        self._more = 0
        self._lock = threading.Lock()

    def around(self, call: Call, fn: Callable[[], T], *, act: bool) -> Callable[[], T]:
        """Return what runs `fn` in a write and makes the entry; without `act` it only prepares one."""

        def run() -> T:
            before = self._log.changes()
            with journal.taking() as note:
                try:
                    result = fn()
                finally:
                    _merge(call, note)
            changed = self._log.changes() != before and not note.no_act
            if changed and not act:
                call.prepared = True
            if act and not call.entered and (changed or _new_use(call)):
                self._enter(call)
            return result

        return _named(run, fn)

    def own(self, fn: Callable[[], T]) -> Callable[[], T]:
        """Return what runs `fn` in a write, and makes entries of what it calls acts of the server itself."""

        def run() -> T:
            with journal.taking() as note:
                result = fn()
            for act in note.acts:
                now = self._clock.now()
                self._log.append(audit.server_deed(now, act.action, act.facts, target=act.target))
            return result

        return _named(run, fn)

    def reading(self, fn: Callable[[], T]) -> Callable[[], tuple[T, Note]]:
        """Return what runs `fn` in a read and tells with its result what it noted."""

        def run() -> tuple[T, Note]:
            with journal.taking() as note:
                return fn(), note

        return run

    def note_use(self, call: Call, note: Note) -> Callable[[], None] | None:
        """Return the write that enters an administrator's use of another's thing; None when none is due."""
        _merge(call, note)
        return functools.partial(self._enter, call) if _new_use(call) else None

    def ended(self, call: Call) -> None:
        """Take note that a call is over: a refusal, or changes before its act, wait to be written."""
        if call.entered or not call.method.audited:
            return
        refused = call.code in _REFUSALS or call.reason == Reason.LOGIN_LOCKED
        if not (call.prepared or refused):
            return
        if call.reason:
            call.facts["reason"] = call.reason
        with self._lock:
            if len(self._waiting) < MOST_REFUSED:
                self._waiting.append(_deed(call, call.code, self._clock.now()))
            else:
                self._more += 1

    def pending(self) -> bool:
        """Return whether anything waits to be written."""
        return bool(self._waiting)

    def take(self) -> Waiting:
        """Return what waits, and begin anew."""
        with self._lock:
            taken = Waiting(self._waiting, self._more)
            self._waiting, self._more = [], 0
        return taken

    def put_back(self, taken: Waiting) -> None:
        """Keep what could not be written for the next time, before what came since."""
        with self._lock:
            both = taken.deeds + self._waiting
            self._waiting = both[:MOST_REFUSED]
            self._more += taken.more + len(both) - len(self._waiting)

    def write(self, taken: Waiting) -> None:
        """Write what waited; runs inside a write."""
        for deed in taken.deeds:
            self._log.append(deed)
        if taken.more:
            facts = {"more_refused_calls": str(taken.more)}
            self._log.append(audit.server_deed(self._clock.now(), audit.REFUSE, facts, "PERMISSION_DENIED"))

    def _enter(self, call: Call) -> None:
        call.entered = True
        self._log.append(_deed(call, "OK", self._clock.now()))
        if call.recorded and not call.closed:
            call.row = self._record.begun(call.activity(self._clock.monotonic() - call.started))


def undo(call: Call) -> None:
    """Forget the entry of a call whose write was rolled back."""
    call.entered = False
    call.row = 0


def _named(run: Callable[[], T], fn: Callable[..., object]) -> Callable[[], T]:
    """Give `run` the name of what it runs, which health shows while it holds the writer."""
    run.__qualname__ = label_of(fn)
    return run


def _merge(call: Call, note: Note) -> None:
    call.facts |= note.facts
    call.used = call.used or note.used
    call.result = note.result or call.result
    if note.target:
        call.target = note.target


def _new_use(call: Call) -> bool:
    return bool(call.used) and not call.entered


def _deed(call: Call, code: str, now: float) -> Deed:
    caller = call.caller
    facts = dict(call.facts)
    if call.used:
        facts["as_administrator"] = call.used
    if caller is not None and caller.operation:
        facts["operation"] = caller.operation
    return Deed(
        time=now,
        action=call.method.action,
        method=call.method.short,
        target=call.result or call.target or call.used,
        principal=caller.principal if caller else "",
        user=caller.user if caller else "",
        token=caller.token if caller else "",
        declared_user=call.declared_user,
        address=call.address,
        client=call.client,
        call_id=call.id,
        code=code,
        facts=facts,
    )
