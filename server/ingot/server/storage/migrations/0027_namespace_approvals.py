"""What approvals of all versions in a namespace need."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the column."""
    db.execute_sql("ALTER TABLE namespace ADD COLUMN approval TEXT NOT NULL DEFAULT ''")
