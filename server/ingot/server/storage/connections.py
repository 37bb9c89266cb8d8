"""SQLite connections: the pragmas every connection gets, and a database object that can close all of them.

Peewee keeps one connection per thread. Threads come and go, so connections of dead threads are closed when a
new one is opened, and `close_all` closes the rest whatever thread made them.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import peewee

from ingot.server.storage import write_out

BUSY_SECONDS = 30
PRAGMAS: tuple[tuple[str, object], ...] = (
    ("busy_timeout", BUSY_SECONDS * 1000),
    ("journal_mode", "wal"),
    ("synchronous", "full"),  # an acknowledged commit survives a power cut; group commit makes it affordable
    ("foreign_keys", 1),
    ("cache_size", -65536),  # KiB: 64 MiB
    ("journal_size_limit", 64 * 1024 * 1024),  # a WAL that grew behind a long read shrinks again
)
INCREMENTAL = 2  # a mode of auto_vacuum: free pages can be given back step by step


@contextmanager
def file_lock(path: str) -> Iterator[None]:
    """Keep other processes out of the with block that prepare the same database: ``<path>.lock``.

    For steps in which SQLite's own locking fails instead of waiting: switching a new file to WAL, and schema
    changes. Closing the file releases the lock, also when the process is killed.
    """
    with open(f"{path}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def only_server(path: str) -> Iterator[None]:
    """Be the one server of a database for the with block. Raises BlockingIOError while there is another.

    Two data folders with one database would each find the other's packs missing.
    """
    lock = os.open(f"{path}.server", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


class _Connection(Protocol):
    def close(self) -> None: ...


class SqliteFile(peewee.SqliteDatabase):
    """A SQLite database, in a file or in memory, with our pragmas. `path` may be ":memory:".

    In memory all threads share one connection and the caller must serialise them.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._opened: dict[threading.Thread, _Connection] = {}
        self._opening = threading.Lock()
        super().__init__(
            path,
            pragmas=[*PRAGMAS, *([("query_only", 1)] if read_only else [])],
            thread_safe=path != ":memory:",
            timeout=BUSY_SECONDS,
            check_same_thread=False,  # close_all runs on another thread
        )

    def _connect(self) -> _Connection:
        connection: _Connection = super()._connect()  # type: ignore[misc]  # absent from the stubs
        with self._opening:
            for thread in [thread for thread in self._opened if not thread.is_alive()]:
                self._opened.pop(thread).close()
            self._opened[threading.current_thread()] = connection
        return connection

    def close_all(self) -> None:
        """Close every connection; no thread may be using one."""
        with self._opening:
            for connection in self._opened.values():
                connection.close()
            self._opened.clear()
        self.dispose()


def make(path: str) -> None:
    """Make a database file that can give space back, unless there is one. The caller holds its lock."""
    if os.path.exists(path) and os.path.getsize(path):
        return
    # Before anything else: the mode counts from the first page that is written.
    made = peewee.SqliteDatabase(path, pragmas=[("auto_vacuum", INCREMENTAL), ("journal_mode", "wal")])
    with made.connection_context():
        made.get_tables()


def rewrite(path: str) -> None:
    """Write a database file anew, without the space that no row needs. Raises OSError on a full disk."""
    database = peewee.SqliteDatabase(path, pragmas=[*PRAGMAS, ("auto_vacuum", INCREMENTAL)])
    try:
        with database.connection_context():
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                database.execute_sql(statement).fetchall()
    except peewee.OperationalError as error:
        full = "full" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), path) from error


def copy_rows(database: str, target: Path) -> None:
    """Copy a database as it is at one moment into a new file, durably, while others write. Raises OSError."""
    source = SqliteFile(database)
    try:
        source.execute_sql("VACUUM INTO ?", (str(target),))  # type: ignore[no-untyped-call]  # peewee's own
    except peewee.OperationalError as error:
        full = "full" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(target)) from error
    finally:
        source.close_all()
    write_out.sync(target)
    target.chmod(0o600)


def pack_sizes(database: Path) -> dict[str, int]:
    """Return the packs that the rows in a database file need and know to be there, with their bytes."""
    return dict(_rows(database, "SELECT name, size_bytes FROM pack WHERE condemned IS NULL AND missing = 0"))


def lost_chunks(database: Path) -> int:
    """Return how many chunks the rows in a database file need and know to be lost."""
    needed = "EXISTS(SELECT 1 FROM hold WHERE hold.chunk = chunk.id)"
    return int(_rows(database, f"SELECT count(*) FROM chunk WHERE lost != 0 AND {needed}")[0][0])


def _rows(database: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read a database file that nobody changes, also from a medium that may only be read. Raises OSError."""
    place = f"file:{quote(str(database.absolute()))}?mode=ro&immutable=1"
    source = peewee.SqliteDatabase(place, uri=True)
    try:
        with source.connection_context():
            return list(source.execute_sql(statement))
    except peewee.DatabaseError as error:
        raise OSError(errno.EIO, f"its rows cannot be read ({error})", str(database)) from error
