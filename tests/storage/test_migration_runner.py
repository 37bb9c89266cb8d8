"""Migrations: applied once also by processes that start together, undone as a whole when they fail."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest

from helpers.schema import describe
from ingot.server.storage import migration_runner
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.migration_runner import MigrationError, migrate

FIRST = """
import peewee

def up(migrator, db):
    class Note(peewee.Model):
        text = peewee.TextField()
        class Meta:
            database = db
    db.create_tables([Note])
    Note.create(text="made by the first migration")
"""
SECOND = """
import peewee

def up(migrator, db):
    migrator.migrate(migrator.add_column("note", "number", peewee.IntegerField(default=7)))
"""
FAILING = """
def up(migrator, db):
    db.execute_sql("CREATE TABLE half (id INTEGER)")
    db.execute_sql("INSERT INTO note (text, number) VALUES ('half', 1)")
    raise LookupError("no more")
"""

STARTER = """
import json, sys
from pathlib import Path
from ingot.server.storage.database import open_database
from ingot.server.storage.migration_runner import migrate
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
database = open_database(sys.argv[1])
print(json.dumps(migrate(database, Path(sys.argv[2]))))
database.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "migrations"
    made.mkdir()
    (made / "0001_first.py").write_text(FIRST)
    (made / "0002_second.py").write_text(SECOND)
    return made


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/meta.db" if request.param == "file" else "sqlite:///:memory:"
    opened = open_database(url)
    yield opened
    opened.close()


def rows(database: Database) -> list[tuple[object, ...]]:
    with database.direct() as connection:
        found: list[tuple[object, ...]] = connection.execute_sql("SELECT * FROM note").fetchall()
        return found


@pytest.mark.contract("S4-46")
def test_pending_migrations_are_applied_once_and_in_order(database: Database, folder: Path) -> None:
    assert migrate(database, folder) == ["0001_first", "0002_second"]
    assert rows(database) == [(1, "made by the first migration", 7)]
    assert migrate(database, folder) == []
    (folder / "0003_third.py").write_text(SECOND.replace("number", "another"))
    assert migrate(database, folder) == ["0003_third"]
    with database.direct() as connection:
        assert connection.pragma("foreign_keys") == 1


def test_a_failing_migration_leaves_nothing_behind(database: Database, folder: Path) -> None:
    migrate(database, folder)
    with database.direct() as connection:
        before = describe(connection)
    (folder / "0003_failing.py").write_text(FAILING)
    (folder / "0004_later.py").write_text(SECOND.replace("number", "later"))
    for _ in range(2):  # it stays pending, and fails again in the same way
        with pytest.raises(MigrationError, match=r"0003_failing .* failed and was rolled back: no more"):
            migrate(database, folder)
    with database.direct() as connection:
        assert describe(connection) == before
    assert len(rows(database)) == 1
    (folder / "0003_failing.py").unlink()
    assert migrate(database, folder) == ["0004_later"]


def test_a_database_of_a_newer_version_is_left_alone(database: Database, folder: Path) -> None:
    migrate(database, folder)
    (folder / "0002_second.py").unlink()
    (folder / "0003_third.py").write_text(SECOND.replace("number", "another"))
    with pytest.raises(MigrationError, match=r"does not know: 0002_second.* newer version"):
        migrate(database, folder)


def test_a_deleted_row_of_history_is_noticed(database: Database, folder: Path) -> None:
    """Applying a migration twice must fail loudly, not silently do half of it."""
    migrate(database, folder)
    with database.direct() as connection:
        connection.execute_sql("DELETE FROM schema_migration WHERE name = '0002_second'")
    with pytest.raises(MigrationError, match="duplicate column"):
        migrate(database, folder)


@pytest.mark.slow
def test_processes_that_start_together_apply_each_migration_once(tmp_path: Path, folder: Path) -> None:
    url = f"sqlite:///{tmp_path}/meta.db"
    roots = [
        str(Path(migration_runner.__file__).parents[3]),
        str(Path(__file__).parents[2] / "clients/python"),
    ]
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {roots!r}\n{STARTER}", url, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    applied = [json.loads(starter.communicate(timeout=100)[0]) for starter in starters]
    assert sorted(applied) == [[], [], ["0001_first", "0002_second"]]
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    with peewee.SqliteDatabase(f"{tmp_path}/meta.db") as plain:
        assert plain.execute_sql("SELECT number FROM note").fetchall() == [(7,)]
