"""The migrations make exactly the tables that tables.py declares; new tables are picked up by themselves."""

from collections.abc import Iterator

import pytest
from playhouse.schema_diff import diff_models

from helpers.schema import Description, describe
from ingot.server.storage import tables
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.migration_runner import MIGRATIONS, migrate


@pytest.fixture
def migrated() -> Iterator[Database]:
    database = open_database("sqlite:///:memory:")
    migrate(database)
    yield database
    database.close()


def declared() -> Description:
    """Return the schema of a database whose tables come from tables.py alone."""
    database = open_database("sqlite:///:memory:")
    with database.direct() as connection:
        connection.create_tables(tables.all_tables())
        description = describe(connection)
    database.close()
    return description


def test_peewee_finds_nothing_to_change(migrated: Database) -> None:
    with migrated.direct() as connection:
        assert str(diff_models(connection, tables.all_tables())) == ""


@pytest.mark.contract("S1-3", "S4-46", "S4-48")
def test_types_defaults_keys_and_indexes_agree(migrated: Database) -> None:
    with migrated.direct() as connection:
        found = describe(connection)
    expected = declared()
    assert sorted(found) == sorted(expected)
    for name, description in expected.items():
        assert found[name] == description, name


def test_migrations_are_numbered_without_gaps_or_twins() -> None:
    numbers = sorted(int(file.name[:4]) for file in MIGRATIONS.glob("[0-9]*.py"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_migrations_stand_on_their_own() -> None:
    """A migration that imported tables.py would change with it, and old databases would miss the change."""
    for file in MIGRATIONS.glob("[0-9]*.py"):
        assert "ingot.server" not in file.read_text(encoding="utf-8"), file.name
