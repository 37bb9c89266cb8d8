"""What is said about versions may change, facts are read from their files, and moves of aliases are kept.

Of the versions that are there already, the current ones are queued to be read.
"""

import peewee
from playhouse.migrate import SqliteMigrator

_COLUMNS = (
    "ALTER TABLE version ADD COLUMN revision INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE version ADD COLUMN updated REAL",
    "ALTER TABLE version ADD COLUMN facts TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE artifact ADD COLUMN facts TEXT NOT NULL DEFAULT ''",
)
_QUEUE = (
    "INSERT INTO facts_wanted(version_id) SELECT version.id FROM artifact JOIN version "
    "ON version.artifact_id = artifact.id AND version.version = artifact.current_version WHERE artifact.live"
)
_MOVES = (
    "INSERT INTO alias_move(artifact_id, alias, version, previous, moved, moved_by) "
    "SELECT alias.artifact_id, alias.alias, version.version, '', alias.updated, alias.updated_by "
    "FROM alias JOIN version ON version.id = alias.version_id"
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns and the tables, and begin the history of each alias where it is now."""

    class FactsWanted(peewee.Model):
        version_id = peewee.IntegerField(primary_key=True)

        class Meta:
            database = db
            legacy_table_names = False

    class AliasMove(peewee.Model):
        artifact_id = peewee.IntegerField()
        alias_id = peewee.TextField(column_name="alias")
        version = peewee.TextField()
        previous = peewee.TextField()
        moved = peewee.FloatField()
        moved_by = peewee.TextField()

        class Meta:
            database = db
            legacy_table_names = False
            indexes = ((("artifact_id", "alias_id"), False),)

    for statement in _COLUMNS:
        db.execute_sql(statement)
    db.create_tables([FactsWanted, AliasMove])
    db.execute_sql(_QUEUE)
    db.execute_sql(_MOVES)
