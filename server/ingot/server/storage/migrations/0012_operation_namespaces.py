"""The namespace of each operation, so that those who read it can list its operations."""

import peewee
from playhouse.migrate import SqliteMigrator

_STATEMENTS = (
    "ALTER TABLE operation ADD COLUMN namespace TEXT NOT NULL DEFAULT ''",
    "UPDATE operation SET namespace = coalesce(json_extract(document, '$.namespace'), '')",
    "UPDATE operation SET document = json_remove(document, '$.namespace')",
    "CREATE INDEX operation_namespace_number ON operation(namespace, number)",
    "CREATE INDEX operation_namespace_change ON operation(namespace, change)",
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the column, filled from what was in the document."""
    for statement in _STATEMENTS:
        db.execute_sql(statement)
