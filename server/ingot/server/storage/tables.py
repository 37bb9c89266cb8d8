"""All tables of the database, one class each, grouped by feature in the order of the migrations.

How to add one (say, to keep notes):

1. Here: a plain Peewee model under `Table`. It is bound to no database. Rows belong to whichever database
   the running unit of work is in (unit_of_work.py), so stores hold no connection and tests may run several
   servers in one process. Use TextField, IntegerField (also for booleans that are queried), FloatField
   (epoch seconds), BlobField (32-byte digests), JSONField; name keys after what they hold; declare every
   index.

       class Note(Table):
           name = peewee.TextField(unique=True)
           text = peewee.TextField(default="")
           created = peewee.FloatField()

2. ``migrations/NNNN_<feature>.py``: the same declaration, frozen. tests/storage/test_schema.py compares every
   table of this file with a freshly migrated database, down to types, defaults and indexes.

       def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
           class Note(peewee.Model):
               name = peewee.TextField(unique=True)
               text = peewee.TextField(default="")
               created = peewee.FloatField()

               class Meta:
                   database = db
                   legacy_table_names = False

           db.create_tables([Note])

3. ``notes_sql.py``: the store behind the Protocol in core/stores.py. It takes and returns types
   of core, never rows: a query that runs after its unit of work ended raises.

       class NotesSql:
           def find(self, name: str) -> Note | None:
               row = tables.Note.get_or_none(tables.Note.name == name)
               return None if row is None else Note(row.name, row.text)

4. Callers: ``database.read(notes.find, "x")`` and ``database.write(notes.add, note).result()``.
   Compare-and-set is an UPDATE whose WHERE names the expected state and whose row count is checked. Lists
   use keyset.page.
"""

import peewee

from ingot.server.storage import unit_of_work


class Table(peewee.Model):
    """Base of all tables; `Table.select()` and the like work inside a unit of work only."""

    class Meta:
        database = unit_of_work.current
        legacy_table_names = False  # CamelCase becomes snake_case


def all_tables() -> list[type[Table]]:
    """Return every table that is declared under `Table`, in the order of declaration."""
    found: list[type[Table]] = []
    waiting = Table.__subclasses__()
    while waiting:
        table = waiting.pop(0)
        found.append(table)
        waiting.extend(table.__subclasses__())
    return found
