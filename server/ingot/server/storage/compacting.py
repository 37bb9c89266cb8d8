"""Giving the space of deleted rows back: SQLite keeps it for new rows, unless it is told to let go of it.

A database made by this version can do that in small steps, while everybody works (`give_back`). One that an
earlier version made has to be written anew once, while no server uses it (`compact`); from then on it can.
"""

from dataclasses import dataclass
from pathlib import Path

from ingot.server.storage import connections, sql
from ingot.server.storage.database import MEMORY, Database, DatabaseOpenError

_STEP_PAGES = 2000  # 8 MB: some milliseconds of the writer
_KEPT_PAGES = 1000  # that new rows will soon fill again


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """The space inside a database file that no row needs, in bytes; `can_shrink` in small steps."""

    size: int
    can_shrink: bool


def free_space() -> FreeSpace:
    """Return the unused space. Inside a read."""
    pages, page_size = _pragma("freelist_count"), _pragma("page_size")
    return FreeSpace(pages * page_size, _pragma("auto_vacuum") == connections.INCREMENTAL)


def give_back() -> int:
    """Give some of the unused space back; return how many bytes. Inside a write; call it until it gives 0."""
    before = _pragma("freelist_count")
    wanted = min(_STEP_PAGES, before - _KEPT_PAGES)
    if wanted <= 0 or _pragma("auto_vacuum") != connections.INCREMENTAL:
        return 0
    sql.rows(f"PRAGMA incremental_vacuum({wanted})")
    return (before - _pragma("freelist_count")) * _pragma("page_size")


def settle(database: Database) -> None:
    """Let the file become as small as its rows are now, unless somebody reads what was before."""
    if database.path == MEMORY:
        return
    with database.direct():
        sql.rows("PRAGMA wal_checkpoint(PASSIVE)")


def compact(database: Database) -> tuple[int, int]:
    """Write a database anew that nobody else uses; return its bytes before and after.

    It needs as much space again while it runs. Raises DatabaseOpenError.
    """
    before = _size(database)
    try:
        connections.rewrite(database.path)
    except OSError as error:
        raise DatabaseOpenError(
            f"cannot write {database.path} anew: {error.strerror}; it is as it was, and "
            f"needs {before} bytes of free space for this"
        ) from error
    return before, _size(database)


def _pragma(name: str) -> int:
    value: int = sql.rows(f"PRAGMA {name}")[0][0]
    return value


def _size(database: Database) -> int:
    files = (Path(database.path), Path(f"{database.path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
