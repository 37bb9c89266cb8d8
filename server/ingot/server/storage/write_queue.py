"""The single writer: one thread that runs write closures, many per transaction, one fsync for all of them.

The thread takes everything that waits in the queue, opens BEGIN IMMEDIATE, runs each closure inside its own
savepoint, commits, runs the after-commit hooks and only then resolves the futures: who holds a result knows
that it is on disk. A closure that raises is rolled back alone and its exception goes to its own future. When
the transaction as a whole is lost (COMMIT fails, disk full), every future of the batch gets that error. A
full disk comes out of the futures as Exhausted (DISK_LOW).
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import peewee

from ingot.server.core import failpoints
from ingot.server.core.complaints import Complaints
from ingot.server.storage import ballast, full_disk, unit_of_work

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BATCH = 512  # closures per transaction: bounds what one failing commit takes with it


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """What the writer is doing, for health reports. Seconds are of the monotonic clock."""

    waiting: int  # closures in the queue, without those of the running transaction
    holder: str  # name of the closure that runs now, "commit", or "" when idle
    holder_seconds: float  # since when it runs
    oldest_wait_seconds: float  # of the closure that waits longest now
    longest_wait_seconds: float  # from submission to start, in the last minute or two
    writes: int  # closures committed
    transactions: int  # fsyncs that it took


class _Task(Protocol):
    """A write in the queue, whatever it returns."""

    label: str
    submitted: float

    def start(self) -> bool:
        """Return whether it is still wanted; from now on it cannot be cancelled."""
        ...

    def run(self, owner: object, database: peewee.SqliteDatabase) -> None: ...

    def succeed(self) -> None: ...

    def fail(self, error: BaseException) -> None: ...


@dataclass(slots=True)
class _Write(Generic[T]):
    fn: Callable[[], T]
    label: str
    submitted: float
    future: "Future[T]" = field(default_factory=Future)
    outcome: tuple[T, unit_of_work.Unit] | None = None

    def start(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def run(self, owner: object, database: peewee.SqliteDatabase) -> None:
        with unit_of_work.entered(unit_of_work.Unit(owner, database, writing=True)) as unit:
            self.outcome = (self.fn(), unit)

    def succeed(self) -> None:
        assert self.outcome is not None
        result, unit = self.outcome
        unit_of_work.run_hooks(unit, self.label)
        self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        if isinstance(error, StopIteration):  # no future of asyncio takes it: who waits would do so for ever
            stop, error = error, RuntimeError(f"{self.label} ended an iteration of nobody")
            error.__cause__ = stop
        self.future.set_exception(error)


class TransactionLostError(Exception):
    """SQLite has rolled back the whole transaction by itself; nothing of the batch remains."""


class _Longest:
    """The largest of recent values: of the running minute and of the one before."""

    def __init__(self) -> None:
        self._minute = 0
        self._now = 0.0
        self._before = 0.0

    def add(self, now: float, value: float) -> None:
        """Take a value at a time of the monotonic clock."""
        self._turn(now)
        self._now = max(self._now, value)

    def seen(self, now: float) -> float:
        """Return the largest value."""
        self._turn(now)
        return max(self._now, self._before)

    def _turn(self, now: float) -> None:
        passed = int(now // 60) - self._minute
        if passed:
            self._before = self._now if passed == 1 else 0.0
            self._now = 0.0
            self._minute += passed


class WriteQueue:
    """Runs write closures on one thread with group commit; `owner` is the Database they belong to."""

    def __init__(self, owner: object, database: peewee.SqliteDatabase) -> None:
        self._owner = owner
        self._database = database
        self._complaints = Complaints(log)
        self._tasks: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._holder = ("", 0.0)
        self._longest_wait = _Longest()
        self._writes = 0
        self._transactions = 0
        self._thread = threading.Thread(target=self._work, name="ingot-writer", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[[], T], label: str) -> "Future[T]":
        """Queue `fn` and return the future of its result; RuntimeError once the queue is closed."""
        task = _Write(fn, label, time.monotonic())
        with self._changed:
            if self._closing:
                raise RuntimeError("the database is closed: no more writes are taken")
            self._tasks.append(task)
            self._changed.notify()
        return task.future

    def figures(self) -> QueueFigures:
        """Return what the writer is doing now."""
        now = time.monotonic()
        with self._changed:
            holder, since = self._holder
            return QueueFigures(
                waiting=len(self._tasks),
                holder=holder,
                holder_seconds=now - since if holder else 0.0,
                oldest_wait_seconds=now - self._tasks[0].submitted if self._tasks else 0.0,
                longest_wait_seconds=self._longest_wait.seen(now),
                writes=self._writes,
                transactions=self._transactions,
            )

    def close(self) -> None:
        """Run what waits, then stop the thread; calling it again does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            self._hold("begin")
            self._commit(batch)
            self._hold("")
        self._database.close()

    def _take(self) -> list[_Task]:
        with self._changed:
            while not self._tasks and not self._closing:
                self._changed.wait()
            taken = [self._tasks.popleft() for _ in range(min(len(self._tasks), MAX_BATCH))]
            now = time.monotonic()
            if taken:  # the first waited longest
                self._longest_wait.add(now, now - taken[0].submitted)
            return taken

    def _hold(self, label: str) -> None:
        self._holder = (label, time.monotonic())

    def _commit(self, batch: list[_Task]) -> None:
        running = [task for task in batch if task.start()]
        own_errors: dict[int, BaseException] = {}  # of writes that rolled back alone, by position
        lost: TransactionLostError | None = None
        try:
            with self._database.transaction("IMMEDIATE"):
                for position, task in enumerate(running):
                    try:
                        self._run(task)
                    except TransactionLostError as error:
                        lost = (
                            error  # leaving the with block raises another one: nothing is there to roll back
                        )
                        raise
                    except BaseException as error:  # noqa: BLE001 (whatever it is, it is the future's)
                        own_errors[position] = error
                self._hold("commit")
                failpoints.hit("database.committing")
        except Exception as error:  # noqa: BLE001 (it is told, and every future gets it)
            if full_disk.is_full(lost or error, self._database.database):
                self._complaints.tell("database.disk_full", full_disk.disk_low(self._database.database))
            else:
                self._complaints.tell("database.transaction_failed", error, f"writes={len(running)}")
            for position, task in enumerate(running):
                self._fail(task, own_errors.get(position, lost or error))
            return
        failpoints.hit("database.committed")
        with self._changed:
            self._writes += len(running) - len(own_errors)
            self._transactions += 1
        for position, task in enumerate(running):
            if position in own_errors:
                self._fail(task, own_errors[position])
            else:
                task.succeed()

    def _fail(self, task: _Task, error: BaseException) -> None:
        if full_disk.is_full(error, self._database.database):
            ballast.drop(self._database.database)  # so that it may be tried again, and space be freed
        task.fail(full_disk.told(error, self._database.database))

    def _run(self, task: _Task) -> None:
        self._hold(task.label)
        try:
            with self._database.savepoint():
                task.run(self._owner, self._database)
        except BaseException as error:
            if self._database.connection().in_transaction:
                raise
            raise TransactionLostError(f"SQLite rolled back the transaction during {task.label}") from error
