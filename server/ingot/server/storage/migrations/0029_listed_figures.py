"""Numbers of artifacts that not everybody may know, beside those that lists are made by."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns; only public artifacts need to be indexed again in form 2."""
    for column in ("own_size_bytes", "own_version_count", "own_version_bytes"):
        db.execute_sql(f"ALTER TABLE artifact ADD COLUMN {column} INTEGER")
    db.execute_sql("UPDATE artifact SET indexed = 2 WHERE indexed = 1 AND visibility != 'PUBLIC'")
