"""Running totals of each tree's files, and what rows and records take of each namespace."""

import peewee
from playhouse.migrate import SqliteMigrator

_TOTALS = (
    "UPDATE tree SET file_count = found.files, size_bytes = found.size, chunk_count = found.chunks, "
    "cost = found.cost FROM ("
    "SELECT tree, count(*) AS files, sum(size_bytes) AS size, sum(chunk_count) AS chunks, "
    "sum(400 + 2 * length(CAST(path AS BLOB)) + 36 * chunk_count) AS cost FROM tree_file GROUP BY tree"
    ") AS found WHERE found.tree = tree.id"
)
_OVERHEAD = (
    "INSERT INTO account(namespace, size_bytes, stored_bytes, revision, overhead_bytes) "
    "SELECT namespace, 0, 0, 0, sum(overhead) FROM ("
    "SELECT namespace, 256 * count(*) AS overhead FROM ("
    "SELECT DISTINCT t.namespace, h.chunk FROM hold h JOIN tree t ON t.id = h.tree "
    "JOIN chunk c ON c.id = h.chunk) GROUP BY namespace "
    "UNION ALL SELECT namespace, cost FROM tree) WHERE true GROUP BY namespace "
    "ON CONFLICT(namespace) DO UPDATE SET overhead_bytes = excluded.overhead_bytes"
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns and count what is there."""
    for column in ("file_count", "size_bytes", "chunk_count", "cost"):
        db.execute_sql(f"ALTER TABLE tree ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    db.execute_sql("ALTER TABLE account ADD COLUMN overhead_bytes INTEGER NOT NULL DEFAULT 0")
    db.execute_sql(_TOTALS)
    db.execute_sql(_OVERHEAD)
