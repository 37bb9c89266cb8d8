"""A table for tests of the database itself; not under tables.Table, so that it is no part of the schema."""

import peewee

from ingot.server.storage import unit_of_work
from ingot.server.storage.database import Database


class Note(peewee.Model):
    name = peewee.TextField(unique=True)
    number = peewee.IntegerField(default=0)

    class Meta:
        database = unit_of_work.current


def prepare(database: Database) -> Database:
    """Make the table in `database` and hand it back."""
    with database.direct() as connection:
        connection.create_tables([Note])
    return database


def add(name: str, number: int = 0) -> int:
    """Insert a row; return how many there are."""
    Note.create(name=name, number=number)
    return Note.select().count()


def names() -> list[str]:
    """Return the names of all rows, sorted."""
    return [row.name for row in Note.select().order_by(Note.name)]
