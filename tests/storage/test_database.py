"""Units of work: what readers see, what a failing write leaves, how writes share a transaction."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest

from helpers import notes
from helpers.eventually import eventually
from ingot.server.core import failpoints
from ingot.server.core.errors import Unavailable
from ingot.server.storage.database import (
    SQLITE_MINIMUM,
    SQLITE_VERSION,
    Database,
    DatabaseOpenError,
    only_server,
    open_database,
    warn_if_too_old,
)
from ingot.server.storage.write_queue import TransactionLostError

PATIENCE = 60  # seconds until a test gives up waiting for another thread


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/meta.db" if request.param == "file" else "sqlite:///:memory:"
    opened = notes.prepare(open_database(url))
    yield opened
    opened.close()


@pytest.fixture
def file_database(tmp_path: Path) -> Iterator[Database]:
    opened = notes.prepare(open_database(f"sqlite:///{tmp_path}/meta.db"))
    yield opened
    opened.close()


class Blocker:
    """Keeps the writer busy until it is released, so that writes queue up behind it."""

    def __init__(self, database: Database) -> None:
        self._go = threading.Event()
        self._running = threading.Event()
        self.future: Future[None] = database.write(self.hold)
        assert self._running.wait(PATIENCE)

    def hold(self) -> None:
        self._running.set()
        assert self._go.wait(PATIENCE)

    def release(self) -> None:
        self._go.set()
        self.future.result(PATIENCE)


def test_what_is_written_is_read(database: Database) -> None:
    assert database.write(notes.add, "a", number=1).result(PATIENCE) == 1
    assert database.write(notes.add, name="b").result(PATIENCE) == 2
    assert database.read(notes.names) == ["a", "b"]


def test_a_failing_write_leaves_nothing_and_tells_its_caller(database: Database) -> None:
    def fail() -> None:
        notes.add("half")
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        database.write(fail).result(PATIENCE)
    assert database.read(notes.names) == []
    assert database.write(notes.add, "next").result(PATIENCE) == 1


def test_inner_atomic_blocks_work(database: Database) -> None:
    def both() -> None:
        with notes.Note._meta.database.atomic():
            notes.add("dropped")
            notes.add("kept")

    def mixed() -> None:
        notes.add("kept")
        with pytest.raises(peewee.IntegrityError):
            both()

    database.write(mixed).result(PATIENCE)
    assert database.read(notes.names) == ["kept"]


def test_reads_write_nothing(database: Database) -> None:
    with pytest.raises(peewee.OperationalError, match="readonly"):
        database.read(notes.add, "a")
    assert database.write(notes.add, "b").result(PATIENCE) == 1
    with pytest.raises(peewee.OperationalError, match="readonly"):
        database.read(notes.add, "a")


def test_rows_outside_a_unit_of_work_are_refused(database: Database) -> None:
    with pytest.raises(RuntimeError, match="outside a unit of work"):
        notes.names()
    lazy = database.read(notes.Note.select)
    with pytest.raises(RuntimeError, match="outside a unit of work"):
        list(lazy)


def test_units_nest_for_reading_only(database: Database) -> None:
    def outer() -> list[str]:
        notes.add("a")
        return database.read(notes.names)

    assert database.write(outer).result(PATIENCE) == ["a"]
    assert database.read(database.read, notes.names) == ["a"]
    with pytest.raises(RuntimeError, match=r"write\(add\) was called inside a unit of work"):
        database.read(database.write, notes.add, "b")
    with pytest.raises(RuntimeError, match="inside a unit of work"):
        database.write(database.write, notes.add, "b").result(PATIENCE)


def test_hooks_run_after_the_commit_and_before_the_result(database: Database) -> None:
    seen: list[list[str]] = []

    def write() -> None:
        notes.add("a")
        database.after_commit(lambda: seen.append(committed()))

    def committed() -> list[str]:
        with ThreadPoolExecutor(1) as other:  # hooks touch no rows themselves: another connection looks
            return other.submit(database.read, notes.names).result(PATIENCE)

    database.write(write).result(PATIENCE)
    assert seen == [["a"]]


def test_hooks_of_a_failed_write_do_not_run(database: Database) -> None:
    called: list[str] = []

    def write(name: str, error: Exception | None) -> None:
        database.after_commit(lambda: called.append(name))
        if error:
            raise error

    with pytest.raises(LookupError):
        database.write(write, "bad", LookupError()).result(PATIENCE)
    database.write(write, "good", None).result(PATIENCE)
    assert called == ["good"]


def test_a_failing_hook_is_logged_and_does_no_harm(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def hook() -> None:
        raise LookupError("listener is gone")

    def write() -> int:
        database.after_commit(hook)
        return notes.add("a")

    assert database.write(write).result(PATIENCE) == 1
    assert "database.hook_failed" in caplog.text
    assert database.read(notes.names) == ["a"]


@pytest.mark.parametrize("call", [lambda d, h: d.after_commit(h), lambda d, h: d.read(d.after_commit, h)])
def test_hooks_belong_to_writes(
    database: Database, call: Callable[[Database, Callable[[], None]], None]
) -> None:
    with pytest.raises(RuntimeError, match=r"outside Database\.write"):
        call(database, lambda: None)


def test_readers_keep_their_snapshot_and_never_wait_for_the_writer(file_database: Database) -> None:
    file_database.write(notes.add, "before").result(PATIENCE)

    def write_meanwhile() -> tuple[list[str], list[str]]:
        first = notes.names()
        with ThreadPoolExecutor(1) as other:
            other.submit(lambda: file_database.write(notes.add, "later").result(PATIENCE)).result(PATIENCE)
        return first, notes.names()

    assert file_database.read(write_meanwhile) == (["before"], ["before"])
    assert file_database.read(notes.names) == ["before", "later"]
    blocker = Blocker(file_database)
    assert file_database.read(notes.names) == ["before", "later"]
    blocker.release()


def test_waiting_writes_share_one_transaction(file_database: Database) -> None:
    blocker = Blocker(file_database)
    before = file_database.queue().transactions
    futures = [file_database.write(notes.add, f"n{i:03}") for i in range(100)]
    assert file_database.queue().waiting == 100
    blocker.release()
    assert [future.result(PATIENCE) for future in futures] == list(range(1, 101))
    after = file_database.queue()
    assert after.transactions - before == 2  # the blocker's, and one for the hundred
    assert after.waiting == 0


def test_one_failing_write_rolls_back_alone_in_its_batch(file_database: Database) -> None:
    blocker = Blocker(file_database)
    first = file_database.write(notes.add, "a")
    duplicate = file_database.write(lambda: [notes.add("x"), notes.add("a")])
    last = file_database.write(notes.add, "b")
    blocker.release()
    assert first.result(PATIENCE) == 1
    with pytest.raises(peewee.IntegrityError):
        duplicate.result(PATIENCE)
    assert last.result(PATIENCE) == 2
    assert file_database.read(notes.names) == ["a", "b"]


def test_a_failing_commit_fails_every_write_of_the_batch(file_database: Database) -> None:
    called: list[str] = []

    def with_hook() -> None:
        notes.add("b")
        file_database.after_commit(lambda: called.append("hook"))

    def fail() -> None:
        raise LookupError("its own")

    blocker = Blocker(file_database)
    futures: list[Future[object]] = [file_database.write(notes.add, "a"), file_database.write(with_hook)]
    own = file_database.write(fail)
    with failpoints.armed("database.committing:2=EIO"):  # the first commit is the blocker's
        blocker.release()
        for future in futures:
            with pytest.raises(Unavailable, match="takes nothing") as caught:
                future.result(PATIENCE)
            assert isinstance(caught.value.__cause__, OSError)
        with pytest.raises(LookupError, match="its own"):
            own.result(PATIENCE)
    assert called == []
    assert file_database.read(notes.names) == []
    assert file_database.write(notes.add, "works again").result(PATIENCE) == 1


def test_a_transaction_that_sqlite_rolled_back_fails_every_write_of_the_batch(
    file_database: Database,
) -> None:
    def lose() -> None:
        notes.Note._meta.database.execute_sql("INSERT OR ROLLBACK INTO note (name, number) VALUES ('a', 1)")

    blocker = Blocker(file_database)
    before = file_database.write(notes.add, "a")
    lost = file_database.write(lose)
    behind = file_database.write(notes.add, "c")
    blocker.release()
    for future in (before, lost, behind):
        with pytest.raises(TransactionLostError, match="lose"):
            future.result(PATIENCE)
    assert file_database.read(notes.names) == []
    assert file_database.write(notes.add, "works again").result(PATIENCE) == 1


def test_a_waiting_write_can_be_cancelled(file_database: Database) -> None:
    blocker = Blocker(file_database)
    unwanted = file_database.write(notes.add, "unwanted")
    wanted = file_database.write(notes.add, "wanted")
    assert unwanted.cancel()
    blocker.release()
    assert wanted.result(PATIENCE) == 1
    with pytest.raises(CancelledError):
        unwanted.result(PATIENCE)
    assert file_database.read(notes.names) == ["wanted"]


def test_the_queue_says_who_holds_the_writer(file_database: Database) -> None:
    idle = file_database.queue()
    assert (idle.waiting, idle.holder, idle.holder_seconds, idle.oldest_wait_seconds) == (0, "", 0.0, 0.0)
    blocker = Blocker(file_database)
    waiting = file_database.write(notes.add, "a")
    busy = file_database.queue()
    assert (busy.waiting, busy.holder) == (1, "Blocker.hold")
    eventually(lambda: file_database.queue().oldest_wait_seconds > 0.01)
    assert file_database.queue().holder_seconds > 0.01
    blocker.release()
    waiting.result(PATIENCE)
    eventually(lambda: file_database.queue().holder == "")
    assert file_database.queue().longest_wait_seconds > 0.01
    assert file_database.queue().writes == 2


def test_close_drains_the_queue_and_waits_for_readers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/meta.db"
    database = notes.prepare(open_database(url))
    reading, go = threading.Event(), threading.Event()

    def slow_read() -> list[str]:
        first = notes.names()
        reading.set()
        assert go.wait(PATIENCE)
        return first + notes.names()

    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(database.read, slow_read)
        assert reading.wait(PATIENCE)
        blocker = Blocker(database)
        last = database.write(notes.add, "last")
        closing = pool.submit(database.close)
        blocker.release()
        assert last.result(PATIENCE) == 1
        assert not closing.done()
        go.set()
        assert read.result(PATIENCE) == []
        closing.result(PATIENCE)
    with pytest.raises(RuntimeError, match="closed"):
        database.write(notes.add, "late")
    with pytest.raises(RuntimeError, match="closed"):
        database.read(notes.names)
    database.close()
    again = open_database(url)
    assert again.read(notes.names) == ["last"]
    again.close()


def test_databases_live_side_by_side(tmp_path: Path) -> None:
    """Threads hop between databases; every row must land in, and come from, the one it was meant for."""
    opened = [notes.prepare(open_database(f"sqlite:///{tmp_path}/{i}.db")) for i in range(3)]
    opened.append(notes.prepare(open_database("sqlite:///:memory:")))

    def work(worker: int) -> None:
        for step in range(20):
            index = (worker + step) % len(opened)
            database = opened[index]
            database.write(notes.add, f"{worker}-{step}", number=index).result(PATIENCE)
            numbers = database.read(lambda: {row.number for row in notes.Note.select()})
            assert numbers == {index}
            assert database.read(opened[index - 1].read, notes.names) is not None

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, worker) for worker in range(4)]:
            done.result(60)
    assert sum(len(database.read(notes.names)) for database in opened) == 80
    for database in opened:
        database.close()


def test_every_connection_has_our_pragmas(file_database: Database) -> None:
    def pragmas() -> list[object]:
        wanted = ("journal_mode", "synchronous", "foreign_keys", "cache_size", "busy_timeout")
        return [notes.Note._meta.database.pragma(name) for name in wanted]

    expected = ["wal", 2, 1, -65536, 30000]
    assert file_database.read(pragmas) == expected
    assert file_database.write(pragmas).result(PATIENCE) == expected
    with ThreadPoolExecutor(1) as other:
        assert other.submit(file_database.read, pragmas).result(PATIENCE) == expected


def test_sqlite_is_new_enough_and_an_old_one_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert SQLITE_VERSION >= SQLITE_MINIMUM, "install pysqlite3: this SQLite may corrupt its WAL"
    warn_if_too_old(SQLITE_VERSION)
    assert not caplog.records
    warn_if_too_old((3, 40, 1))
    assert caplog.records[0].levelno == logging.WARNING
    assert "3.40.1" in caplog.text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://localhost/ingot", "expected sqlite:///"),
        ("meta.db", "expected sqlite:///"),
        ("sqlite:///", "expected sqlite:///"),
        ("sqlite:////no/such/folder/meta.db", "create its folder first"),
    ],
)
def test_bad_urls_are_explained(url: str, message: str) -> None:
    with pytest.raises(DatabaseOpenError, match=message):
        open_database(url)


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "meta.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(DatabaseOpenError, match="check that it is a SQLite file"):
        open_database(f"sqlite:///{tmp_path}/meta.db")


def test_a_database_has_one_server(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/meta.db"
    refused = pytest.raises(DatabaseOpenError, match="another server uses it")
    with only_server(url), refused, only_server(url):
        pytest.fail("two servers at once")
    with only_server(url):
        pass
