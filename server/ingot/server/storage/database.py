"""The database: units of work over SQLite. Rules run inside `read` or `write` and never see a thread.

    database = open_database("sqlite:////var/lib/ingot/meta.db")
    version = database.read(catalog.find, name)           # in this thread, one consistent snapshot
    future = database.write(catalog.create, artifact)     # on the writer thread; resolves after the fsync

Reads run on a connection of the calling thread and never wait for the writer (WAL). Writes run on the one
writer thread, many per transaction (see write_queue.py). Inside a unit of work, `read` of the same database
just calls the function, so rules may be composed; `write` raises, because it could only wait for itself.

With ``sqlite:///:memory:`` everything runs in the calling thread under a lock, and `write` returns a resolved
future: the mode for tests of rules.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import peewee

from ingot.server.core.labels import label_of
from ingot.server.storage import connections, full_disk, unit_of_work
from ingot.server.storage.file_pages import FilePages
from ingot.server.storage.write_queue import QueueFigures, WriteQueue

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

SQLITE_MINIMUM = (3, 51, 3)  # before it, a checkpoint that meets a WAL reset may corrupt the file
SQLITE_VERSION: tuple[int, ...] = tuple(peewee.SqliteDatabase.server_version)

_SCHEME = "sqlite:///"
MEMORY = ":memory:"


def path_of(url: str) -> str:
    """Return the SQLite file that a URL of a database names, or ":memory:"."""
    return url.removeprefix(_SCHEME)


class DatabaseOpenError(Exception):
    """The database cannot be opened; the message says why and what to do."""


class Database(ABC):
    """Units of work over one database; `open_database` makes one."""

    def __init__(self, path: str) -> None:
        self.path = path  # of the SQLite file, or ":memory:"

    @abstractmethod
    def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` in this thread inside a read transaction: it sees one snapshot and may write nothing."""

    @abstractmethod
    def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `fn` inside a write transaction, alone in its savepoint; the future resolves after the fsync.

        An exception of `fn` undoes what `fn` wrote and comes out of the future. Cancelling the future works
        until `fn` starts. A full disk comes out of it as Exhausted (DISK_LOW). Raises RuntimeError inside a
        unit of work of this database, and after `close`.
        """

    @abstractmethod
    def queue(self) -> QueueFigures:
        """Return what the writer is doing now."""

    @abstractmethod
    def direct(self) -> "AbstractContextManager[peewee.SqliteDatabase]":
        """Give this thread the bare database outside any transaction: for migrations, backup and tests.

        Tables may be used inside the with block. Other readers and writers are not kept away.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish waiting writes and running reads, then close all connections; may be called twice."""

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` once the write that runs now is durable, before its future resolves; never if it fails.

        Hooks run on the writer thread: they must be quick and must not touch rows. An exception of a hook is
        logged. Raises RuntimeError outside `write`.
        """
        unit = unit_of_work.unit_of(self)
        if unit is None or not unit.writing:
            raise RuntimeError("after_commit was called outside Database.write(fn)")
        unit.after_commit.append(hook)

    def _refuse_nested_write(self, fn: Callable[..., object]) -> None:
        if unit_of_work.unit_of(self) is not None:
            raise RuntimeError(
                f"write({label_of(fn)}) was called inside a unit of work, where it could only wait for "
                "itself: call the function directly, or start the write after this unit ends"
            )


def open_database(url: str) -> Database:
    """Open the database at `url`, which has one of three forms.

    ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``sqlite:///:memory:``. A missing
    file is created; tables are made by `migrate` of migration_runner.py. Raises DatabaseOpenError.
    """
    if not url.startswith(_SCHEME) or url == _SCHEME:
        raise DatabaseOpenError(
            f"cannot open the database {url!r}: expected sqlite:///<path>, for example "
            "sqlite:////var/lib/ingot/meta.db"
        )
    warn_if_too_old(SQLITE_VERSION)
    path = path_of(url)
    if path == MEMORY:
        return MemoryDatabase()
    if not Path(path).absolute().parent.is_dir():
        raise DatabaseOpenError(f"cannot open the database {path}: create its folder first")
    return FileDatabase(path)


@contextmanager
def only_server(url: str, home: Path | None = None) -> Iterator[None]:
    """Keep servers, and whoever needs that none runs, from the database at `url` for the with block.

    Raises DatabaseOpenError while there is one already, and where the data folder `home` has packs and no
    database: with a new one nobody would need them, and collection would delete them in some days.
    """
    path = path_of(url)
    if home and path != MEMORY and not Path(path).exists() and any(home.glob("packs/*/*.pack")):
        raise DatabaseOpenError(
            f"there is no database {path}, but packs are in {home / 'packs'}: put it back, or bring one from "
            "a backup (ingot-server restore); without one, ingot-server doctor --rebuild-index keeps what "
            "the packs have. To begin anew, move the packs away"
        )
    with ExitStack() as held:
        if path != MEMORY and Path(path).absolute().parent.is_dir():  # what else is wrong, opening tells
            try:
                held.enter_context(connections.only_server(path))
            except BlockingIOError:
                raise DatabaseOpenError(
                    f"cannot use the database {path}: another server uses it, with another data folder; "
                    "each data folder needs a database of its own (--database-url)"
                ) from None
        yield


def warn_if_too_old(version: tuple[int, ...]) -> None:
    """Log a warning when a SQLite of this version should not hold data that matters."""
    if version < SQLITE_MINIMUM:
        log.warning(
            "database.sqlite_too_old version=%s minimum=%s: it may corrupt the database; install pysqlite3",
            dotted(version),
            dotted(SQLITE_MINIMUM),
        )


def dotted(version: tuple[int, ...]) -> str:
    """Return a version the way people write it."""
    return ".".join(map(str, version))


class FileDatabase(Database):
    """A SQLite file: reads on a connection of each calling thread, writes on the writer thread."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._writer = connections.SqliteFile(path)
        self._reader = connections.SqliteFile(path, read_only=True)
        try:
            with connections.file_lock(path):
                connections.make(path)
                with self._writer.connection_context():
                    self._writer.get_tables()  # makes the file and its WAL, which readers may not
        except (peewee.DatabaseError, OSError) as error:
            if full_disk.is_full(error, path):
                advice = full_disk.startup_advice(path)
                raise DatabaseOpenError(f"cannot open the database {path}: {advice}") from error
            raise DatabaseOpenError(
                f"cannot open the database {path}: {error}; check that it is a SQLite file on a local disk "
                "and that this user may write to it and to its folder"
            ) from error
        self._pages = FilePages(path)
        self._queue = WriteQueue(self, self._writer)
        self._reads = 0
        self._closed = False
        self._changed = threading.Condition()

    def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` on this thread's own connection; never waits for the writer."""
        if unit_of_work.unit_of(self) is not None:
            return fn(*args, **kwargs)
        try:
            with (
                self._counted(),
                self._reader.transaction("DEFERRED"),
                unit_of_work.entered(unit_of_work.Unit(self, self._reader, False, self._pages)),
            ):
                return fn(*args, **kwargs)
        except peewee.DatabaseError as error:
            refusal = full_disk.read_failed(error, self.path)
            if refusal is None:
                raise
            raise refusal from error

    def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue `fn` for the writer thread."""
        self._refuse_nested_write(fn)
        return self._queue.submit(lambda: fn(*args, **kwargs), label_of(fn))

    def queue(self) -> QueueFigures:
        """Return what the writer thread is doing now."""
        return self._queue.figures()

    @contextmanager
    def direct(self) -> Iterator[peewee.SqliteDatabase]:
        """Open a writing connection of this thread for the length of the with block."""
        with (
            self._counted(),
            self._writer.connection_context(),
            unit_of_work.entered(unit_of_work.Unit(self, self._writer, writing=False)),
        ):
            yield self._writer

    def close(self) -> None:
        """Drain the queue, wait for running reads, close all connections."""
        self._queue.close()
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._reads == 0)
        self._reader.close_all()
        self._writer.close_all()
        self._pages.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        # A connection must not be closed under a running query, so close() waits until nobody is here.
        with self._changed:
            if self._closed:
                raise RuntimeError("the database is closed: no more reads are taken")
            self._reads += 1
        try:
            yield
        finally:
            with self._changed:
                self._reads -= 1
                self._changed.notify_all()


class MemoryDatabase(Database):
    """A database in memory for tests of rules: every unit of work runs at once in the calling thread."""

    def __init__(self) -> None:
        super().__init__(MEMORY)
        self._database = connections.SqliteFile(MEMORY)
        self._database.connect()
        self._database.pragma("auto_vacuum", connections.INCREMENTAL)  # as a new file has it
        self._lock = threading.RLock()
        self._writes = 0

    def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` once no other thread is inside."""
        if unit_of_work.unit_of(self) is not None:
            return fn(*args, **kwargs)
        with self._lock:
            self._database.pragma("query_only", 1)
            unit = unit_of_work.Unit(self, self._database, writing=False)
            try:
                with self._database.transaction("DEFERRED"), unit_of_work.entered(unit):
                    return fn(*args, **kwargs)
            finally:
                self._database.pragma("query_only", 0)

    def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Call `fn` once no other thread is inside; the future is resolved already."""
        self._refuse_nested_write(fn)
        future: Future[T] = Future()
        unit = unit_of_work.Unit(self, self._database, writing=True)
        with self._lock:
            try:
                with self._database.transaction("IMMEDIATE"), unit_of_work.entered(unit):
                    result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 (as on the writer thread, it is the future's)
                future.set_exception(full_disk.told(error, self.path))
                return future
            self._writes += 1
        unit_of_work.run_hooks(unit, label_of(fn))
        future.set_result(result)
        return future

    def queue(self) -> QueueFigures:
        """Return the number of writes; nothing ever waits."""
        return QueueFigures(0, "", 0.0, 0.0, 0.0, self._writes, self._writes)

    @contextmanager
    def direct(self) -> Iterator[peewee.SqliteDatabase]:
        """Give the one connection, once no other thread is inside."""
        with self._lock, unit_of_work.entered(unit_of_work.Unit(self, self._database, writing=False)):
            yield self._database

    def close(self) -> None:
        """Forget all rows."""
        with self._lock:
            self._database.close_all()
