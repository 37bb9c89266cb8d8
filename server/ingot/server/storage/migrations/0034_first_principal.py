"""Who, by credential, downloaded something first, beside the name that was declared."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the column, with the first of those who downloaded it under that name or as that principal."""
    db.execute_sql("ALTER TABLE usage_counter ADD COLUMN first_principal TEXT NOT NULL DEFAULT ''")
    db.execute_sql(
        "UPDATE usage_counter SET first_principal = ifnull((SELECT principal FROM usage_user "
        "WHERE usage_user.subject = usage_counter.subject AND version = '' AND downloads > 0 "
        "AND first_downloaded_by IN (declared_user, principal) ORDER BY first_time LIMIT 1), '') "
        "WHERE first_downloaded_by != ''"
    )
