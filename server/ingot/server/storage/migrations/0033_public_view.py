"""When what strangers see of an artifact changed, and totals over all versions beside those for everybody."""

import peewee
from playhouse.migrate import SqliteMigrator

_STATEMENTS = (
    "ALTER TABLE artifact ADD COLUMN own_updated REAL",
    "ALTER TABLE artifact ADD COLUMN public_mark TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE artifact ADD COLUMN public_change INTEGER NOT NULL DEFAULT 0",
    "UPDATE artifact SET public_change = change",
    "CREATE INDEX artifact_public_change ON artifact(public_change)",
    # Only public artifacts have a mark to be made.
    "UPDATE artifact SET indexed = 3 WHERE indexed = 2 AND visibility != 'PUBLIC'",
    "ALTER TABLE artifact_total ADD COLUMN own_versions INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE artifact_total ADD COLUMN own_size_bytes INTEGER NOT NULL DEFAULT 0",
    "UPDATE artifact_total SET own_versions = versions, own_size_bytes = size_bytes",
)
# What versions add that not everybody may see, for each part of the catalog that their artifact is in.
_MORE = (
    "UPDATE artifact_total SET own_versions = own_versions + more.versions, "
    "own_size_bytes = own_size_bytes + more.size FROM ("
    "SELECT {part} AS part, sum(ifnull(own_version_count, version_count) - version_count) AS versions, "
    "sum(ifnull(own_version_bytes, version_bytes) - version_bytes) AS size FROM artifact "
    "WHERE live = 1 AND indexed > 0 AND (own_version_count IS NOT NULL OR own_version_bytes IS NOT NULL) "
    "GROUP BY 1) AS more WHERE artifact_total.part = more.part"
)
_PARTS = ("kind", "kind || '@' || audience", "kind || '/' || namespace")


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns and count what is there."""
    for statement in _STATEMENTS:
        db.execute_sql(statement)
    for part in _PARTS:
        db.execute_sql(_MORE.format(part=part))
