"""A database of every earlier schema, with rows in all of its tables, becomes one of today's and loses none.

A table is filled with rows that fit its columns whatever they are called: unique, of their type, JSON where a
text may be JSON, with keys that exist. So a new migration is tested with data by being there.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.schema import describe, earlier, migrated
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.migration_runner import MIGRATIONS, migrate

NAMES = sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.py"))
# The first, each fifth and the latest; those between are left to the long run.
OFTEN = {1, *range(5, len(NAMES), 5), *range(len(NAMES) - 3, len(NAMES))}
ROWS = 3
# What migrations take out of JSON, and what code of that time always put in.
DOCUMENTS = {("operation", "document"): '{"target": "uploads/file_1", "attempt": 1, "queue": "maintenance"}'}


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path}/meta.db")
    yield database
    database.close()


@pytest.fixture(name="today", scope="module")
def _today() -> Iterator[Database]:
    database = migrated(open_database("sqlite:///:memory:"))
    yield database
    database.close()


def tables(database: Database) -> list[str]:
    """Return the ordinary tables, without those of the full-text index and the history of migrations."""
    with database.direct() as connection:
        found = connection.execute_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    virtual = [name for name, sql in found if sql and sql.upper().startswith("CREATE VIRTUAL")]
    return sorted(
        name
        for name, _ in found
        if name != "schema_migration"
        and not name.startswith("sqlite_")
        and not any(name == each or name.startswith(f"{each}_") for each in virtual)
    )


def value(kind: str, row: int, table: str, column: str) -> object:
    """Return what fits a column: the same for the same row, another one for each row."""
    kind = kind.upper()
    if "INT" in kind:
        return row
    if kind in ("REAL", "FLOAT", "DOUBLE"):
        return 1_790_000_000.0 + row
    if kind == "BLOB":
        return bytes([row]) * 32
    return DOCUMENTS.get((table, column)) or f'{{"{table} {column}": {row}}}'  # text that is JSON, too


def fill(database: Database) -> dict[str, int]:
    """Put rows into every table; return how many each has."""
    with database.direct() as connection:
        connection.execute_sql(
            "PRAGMA foreign_keys = OFF"
        )  # rows come in any order; all keys exist at the end
        for table in tables(database):
            columns = connection.execute_sql(f'PRAGMA table_info("{table}")').fetchall()
            keys = {row[3]: row[4] for row in connection.execute_sql(f'PRAGMA foreign_key_list("{table}")')}
            referred = {
                row[3]: row[2] for row in connection.execute_sql(f'PRAGMA foreign_key_list("{table}")')
            }
            for row in range(1, ROWS + 1):
                given = [
                    value(kind, row, referred.get(name, table), keys.get(name) or name)
                    for _, name, kind, *_ in columns
                ]
                marks = ", ".join("?" * len(given))
                connection.execute_sql(f'INSERT OR IGNORE INTO "{table}" VALUES ({marks})', given)
        return counts(database)


def counts(database: Database) -> dict[str, int]:
    with database.direct() as connection:
        return {
            table: connection.execute_sql(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for table in tables(database)
        }


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(number, id=name, marks=() if number in OFTEN else pytest.mark.long)
        for number, name in enumerate(NAMES[:-1], start=1)
    ],
)
def test_a_database_of_an_earlier_schema_is_brought_up_to_date(
    database: Database, today: Database, count: int
) -> None:
    earlier(database, count)
    before = fill(database)
    assert min(before.values()) > 0, "every table has rows"
    assert migrate(database) == NAMES[count:]
    with database.direct() as connection, today.direct() as fresh:
        assert describe(connection) == describe(fresh)
        assert connection.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute_sql("PRAGMA foreign_key_check").fetchall() == []
    after = counts(database)
    lost = {table: rows for table, rows in before.items() if table in after and after[table] < rows}
    assert lost == {}
    assert migrate(database) == []
