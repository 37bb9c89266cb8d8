"""When versions went to the trash, and what has been there for longest."""

import peewee
from playhouse.migrate import SqliteMigrator

_STATEMENTS = (
    "ALTER TABLE version ADD COLUMN deleted REAL",
    "CREATE INDEX version_deleted ON version(deleted)",
    "CREATE INDEX artifact_deleted ON artifact(deleted)",
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the column and the indexes."""
    for statement in _STATEMENTS:
        db.execute_sql(statement)
