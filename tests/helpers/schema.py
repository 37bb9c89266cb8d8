"""The schema of a SQLite database: given to an empty one at once, and described to be compared with ==.

Thousands of tests want a database of the newest schema. The migrations run once for each process, into a
template in memory; `migrated` copies it, which takes a fiftieth of the time.
"""

import functools
import shutil
import tempfile
from pathlib import Path

import peewee

from ingot.server.storage.database import MEMORY, Database, open_database
from ingot.server.storage.migration_runner import MIGRATIONS, migrate

Description = dict[str, dict[str, object]]


def migrated(database: Database) -> Database:
    """Give a database what `migrate` gives it; return it. One that is not empty stays as it is."""
    with _template().direct() as template, database.direct() as connection:
        if not connection.get_tables():
            template.connection().backup(connection.connection())
    return database


def earlier(database: Database, last: int) -> Database:
    """Give an empty database the schema that migrations up to this number made; return it."""
    names = sorted(file.stem for file in MIGRATIONS.glob("[0-9]*.py") if int(file.name[:4]) <= last)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            shutil.copy(MIGRATIONS / f"{name}.py", folder)
        assert migrate(database, Path(folder)) == names
    return database


def prepare(url: str) -> None:
    """Make the file of a database that is not there yet, with the newest schema."""
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        migrated(open_database(url)).close()


@functools.cache
def _template() -> Database:
    database = open_database(f"sqlite:///{MEMORY}")
    migrate(database)
    return database


def describe(connection: peewee.SqliteDatabase) -> Description:
    """Return columns, foreign keys and indexes of every ordinary table, without the history of migrations.

    The order of columns does not count: a column that a migration added stands last.
    """
    rows = connection.execute_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    virtual = [name for name, sql in rows if sql and sql.upper().startswith("CREATE VIRTUAL")]
    return {
        name: _table(connection, name, sql)
        for name, sql in rows
        if name != "schema_migration"
        and not name.startswith("sqlite_")
        and not any(name == table or name.startswith(f"{table}_") for table in virtual)  # and shadow tables
    }


def _table(connection: peewee.SqliteDatabase, name: str, sql: str) -> dict[str, object]:
    def pragma(what: str, of: str) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = connection.execute_sql(f'PRAGMA {what}("{of}")').fetchall()
        return found

    indexes = []
    for _, index, unique, origin, partial in pragma("index_list", name):
        columns = tuple((row[2], row[3], row[4]) for row in pragma("index_xinfo", str(index)) if row[5])
        condition = ""
        if partial:
            found = connection.execute_sql("SELECT sql FROM sqlite_master WHERE name = ?", (index,))
            condition = found.fetchone()[0].upper().split(" WHERE ", 1)[1]
        indexes.append((columns, unique, origin, condition))
    return {
        "columns": {row[1]: row[2:] for row in pragma("table_info", name)},
        "foreign keys": sorted(row[2:] for row in pragma("foreign_key_list", name)),
        "indexes": sorted(indexes, key=repr),
        "options": sql.upper().rsplit(")", 1)[1].strip(),
    }
