"""A full disk: the write is refused, saying why, nothing is changed, and it goes on once there is room."""

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest

from helpers import notes
from ingot.server.core import failpoints
from ingot.server.core.errors import Exhausted, Reason, Unavailable
from ingot.server.storage import full_disk
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.migration_runner import MigrationError, migrate

PATIENCE = 60  # seconds


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/meta.db" if request.param == "file" else "sqlite:///:memory:"
    opened = notes.prepare(open_database(url))
    yield opened
    opened.close()


def _limit(pages: int) -> None:
    notes.Note._meta.database.execute_sql(f"PRAGMA max_page_count = {pages}")


def test_a_write_without_room_is_refused_and_the_next_with_room_succeeds(database: Database) -> None:
    database.write(_limit, 1).result(PATIENCE)  # SQLite takes it for the size that it has
    with pytest.raises(Exhausted, match="disk is full") as caught:
        database.write(notes.add, "x" * 100_000).result(PATIENCE)
    assert caught.value.reason is Reason.DISK_LOW
    assert caught.value.retry_after == full_disk.RETRY_AFTER
    assert isinstance(caught.value.__cause__, Exception)
    assert database.read(notes.names) == []
    database.write(_limit, 100_000).result(PATIENCE)
    database.write(notes.add, "fits").result(PATIENCE)
    assert database.read(notes.names) == ["fits"]


def test_a_commit_without_room_is_refused_without_a_story_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = notes.prepare(open_database(f"sqlite:///{tmp_path}/meta.db"))
    for name in ("a", "b"):  # work that is tried each second must not fill up what is left
        with failpoints.armed("database.committing:1=ENOSPC"), pytest.raises(Exhausted) as caught:
            database.write(notes.add, name).result(PATIENCE)
        assert caught.value.reason is Reason.DISK_LOW
    assert [record.exc_info for record in caplog.records if "disk_full" in record.getMessage()] == [None]
    database.close()


def test_a_migration_without_room_says_so(tmp_path: Path) -> None:
    (tmp_path / "0001_large.py").write_text(
        "def up(migrator, db):\n"
        "    db.execute_sql('CREATE TABLE large (text TEXT)')\n"
        "    db.execute_sql('PRAGMA max_page_count = 1')\n"
        "    db.execute_sql('INSERT INTO large VALUES (hex(zeroblob(100000)))')\n"
    )
    database = open_database(f"sqlite:///{tmp_path}/meta.db")
    with pytest.raises(MigrationError, match=r"the disk is full: \d+ bytes are free"):
        migrate(database, tmp_path)
    database.close()


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (peewee.OperationalError("database or disk is full"), True),
        (sqlite3.OperationalError("database or disk is full"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (peewee.OperationalError("disk I/O error"), False),  # there is room where the tests run
        (peewee.OperationalError("database is locked"), False),
        (LookupError("database or disk is full"), False),
    ],
)
def test_only_a_full_disk_is_taken_for_one(error: Exception, full: bool, tmp_path: Path) -> None:
    assert full_disk.is_full(error, str(tmp_path / "meta.db")) is full
    outer = RuntimeError("outer")
    outer.__cause__ = error
    assert full_disk.is_full(outer, str(tmp_path / "meta.db")) is full


def test_a_read_of_a_database_whose_disk_is_gone_is_refused_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = notes.prepare(open_database(f"sqlite:///{folder}/meta.db"))
    folder.rename(tmp_path / "elsewhere")  # the connection of the first read is made now
    with pytest.raises(Unavailable, match=r"disk does not read meta\.db") as caught:
        database.read(notes.names)
    assert caught.value.next_step
    (tmp_path / "elsewhere").rename(folder)
    assert database.read(notes.names) == []
    database.close()
