"""Which database the rows of this thread belong to.

Tables are global classes, yet one process may hold several databases (tests run servers side by side). So
tables are bound to no database but to `current`, a stand-in that leads to the database whose unit of work
this thread is in. `Database.read` and `Database.write` enter and leave that unit; outside of one, touching a
row raises.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import peewee

from ingot.server.storage.file_pages import FilePages

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Unit:
    """One unit of work: rows are read and written through `connection`, on behalf of `owner`."""

    owner: object
    connection: peewee.SqliteDatabase
    writing: bool
    pages: FilePages | None = None  # of the file that is read
    after_commit: list[Callable[[], None]] = field(default_factory=list)


class _Units(threading.local):
    def __init__(self) -> None:
        self.stack: list[Unit] = []


_units = _Units()


@contextmanager
def entered(unit: Unit) -> Iterator[Unit]:
    """Make `unit` the current one of this thread for the length of a with block."""
    _units.stack.append(unit)
    try:
        yield unit
    finally:
        _units.stack.pop()


def run_hooks(unit: Unit, label: str) -> None:
    """Call the after-commit hooks of a unit that is durable now; `label` names its write in the log."""
    for hook in unit.after_commit:
        try:
            hook()
        except Exception:  # a listener that fails must not turn a durable write into an error
            log.exception("database.hook_failed write=%s", label)


def is_writing() -> bool:
    """Return whether this thread is in a unit that writes."""
    return bool(_units.stack) and _units.stack[-1].writing


def pages() -> FilePages | None:
    """Return the pages of the file that this thread reads; None when it writes, or there is no file."""
    return _units.stack[-1].pages if _units.stack else None


def unit_of(owner: object) -> Unit | None:
    """Return the unit that this thread is in for `owner`; None when it is in none."""
    return next((unit for unit in reversed(_units.stack) if unit.owner is owner), None)


class _CurrentDatabase(peewee.DatabaseProxy):
    """Peewee's own stand-in for a database, except that it looks the database up per thread."""

    def __init__(self) -> None:
        pass  # there is nothing to initialise: `obj` is computed

    @property
    def obj(self) -> peewee.SqliteDatabase | None:
        return _units.stack[-1].connection if _units.stack else None

    def attach_callback(self, callback: Callable[..., object]) -> Callable[..., object]:
        # Peewee asks to be told when the database becomes known, for fields that differ by engine. Ours are
        # asked about once, while the class is made.
        return callback

    def __getattr__(self, name: str) -> object:
        if self.obj is None:
            raise RuntimeError(
                "rows were touched outside a unit of work: call the code through Database.read(fn) or "
                "Database.write(fn), and turn queries into plain values before fn returns"
            )
        return getattr(self.obj, name)


current = _CurrentDatabase()
