"""Whether the file of a database is sound, as SQLite itself finds out: else no other check can trust rows.

Flipped bits inside of a value are not found this way, unless they make it unreadable.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import peewee
from peewee import sqlite3 as driver  # type: ignore[attr-defined]  # absent from the stubs

from ingot.server.storage import sql
from ingot.server.storage.database import Database, path_of

_TOLD = 20  # messages
# Of statements, and of fetching their rows, where Peewee passes on what its driver says.
_FAILED: tuple[type[Exception], ...] = (peewee.DatabaseError, driver.DatabaseError)


class DamagedDatabaseError(Exception):
    """The database cannot be read; the message says why and what to do."""


def damage(database: Database, *, deep: bool) -> Sequence[str]:
    """Return what SQLite finds wrong, nothing where it is sound; `deep` compares rows and indexes, too."""
    check = "integrity_check" if deep else "quick_check"
    try:
        with database.direct():
            found = [str(row[0]) for row in sql.rows(f"PRAGMA {check}({_TOLD})")]
    except _FAILED as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def advice(database: str) -> str:
    """Return what to do about a damaged database file."""
    return (
        "restore a backup into a new folder (ingot-server restore); without one, move "
        f"{database} and the files beginning with its name away and run doctor with --rebuild-index"
    )


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn errors of a database that cannot be read into DamagedDatabaseError."""
    try:
        yield
    except _FAILED as error:
        path = path_of(url)
        raise DamagedDatabaseError(
            f"The database {path} is damaged: {error}. What helps: {advice(path)}."
        ) from error
