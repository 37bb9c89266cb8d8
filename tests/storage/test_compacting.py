"""The database gives unused space back: a new one in steps, an old one after it was written anew once."""

import contextlib
import pathlib

import peewee
import pytest

from ingot.server import cli
from ingot.server.storage import compacting, connections, sql
from ingot.server.storage.database import Database, open_database

MIB = 1024 * 1024


def fill(database: Database) -> None:
    """Make 16 MiB of rows and delete them."""

    def rows() -> None:
        sql.run("CREATE TABLE blobs(id INTEGER PRIMARY KEY, data BLOB)")
        sql.run_many("INSERT INTO blobs(data) VALUES (zeroblob(?))", [(MIB,)] * 16)

    database.write(rows).result(60)
    database.write(sql.run, "DELETE FROM blobs").result(60)


def size(database: Database) -> int:
    compacting.settle(database)
    return pathlib.Path(database.path).stat().st_size


def test_a_new_database_gives_space_back_in_steps(tmp_path: pathlib.Path) -> None:
    with contextlib.closing(open_database(f"sqlite:///{tmp_path}/new.db")) as database:
        fill(database)
        full = size(database)
        assert database.read(compacting.free_space).can_shrink
        steps = []
        while freed := database.write(compacting.give_back).result(60):
            steps.append(freed)
        assert len(steps) >= 2
        assert max(steps) <= 9 * MIB
        kept = database.read(compacting.free_space).size
        assert 0 < kept <= 5 * MIB
        assert size(database) <= full - sum(steps)
        copy = tmp_path / "copy.db"
        connections.copy_rows(database.path, copy)
    with contextlib.closing(open_database(f"sqlite:///{copy}")) as restored:
        assert restored.read(compacting.free_space).can_shrink, "a backup keeps what its source can do"


def test_an_old_database_is_written_anew_once(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    file = folder / "ingot.db"
    with contextlib.closing(peewee.SqliteDatabase(str(file), pragmas=[("journal_mode", "wal")])) as old:
        old.execute_sql("CREATE TABLE was_there(id INTEGER PRIMARY KEY)")
    with contextlib.closing(open_database(f"sqlite:///{file}")) as database:
        fill(database)
        assert not database.read(compacting.free_space).can_shrink
        assert database.write(compacting.give_back).result(60) == 0
        full = size(database)
    assert cli.main(["compact", "--data", str(folder)]) == 0
    assert "bytes before" in capsys.readouterr().out
    with contextlib.closing(open_database(f"sqlite:///{file}")) as database:
        assert database.read(compacting.free_space) == compacting.FreeSpace(0, can_shrink=True)
        assert size(database) < full - 15 * MIB
        assert database.read(sql.rows, "SELECT count(*) FROM was_there") == [(0,)]
