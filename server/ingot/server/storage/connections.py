"""SQLite connections: the pragmas every connection gets, and a database object that can close all of them.

Peewee keeps one connection per thread. Threads come and go, so connections of dead threads are closed when a
new one is opened, and `close_all` closes the rest whatever thread made them.
"""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import peewee

BUSY_SECONDS = 30
PRAGMAS: tuple[tuple[str, object], ...] = (
    ("busy_timeout", BUSY_SECONDS * 1000),
    ("journal_mode", "wal"),
    ("synchronous", "full"),  # an acknowledged commit survives a power cut; group commit makes it affordable
    ("foreign_keys", 1),
    ("cache_size", -65536),  # KiB: 64 MiB
)


@contextmanager
def file_lock(path: str) -> Iterator[None]:
    """Keep other processes out of the with block that prepare the same database: ``<path>.lock``.

    For steps in which SQLite's own locking fails instead of waiting: switching a new file to WAL, and schema
    changes. Closing the file releases the lock, also when the process is killed.
    """
    with open(f"{path}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
