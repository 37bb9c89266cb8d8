"""What each namespace has and may have, counted from what is there."""

import peewee
from playhouse.migrate import SqliteMigrator

_FILL = (
    "INSERT INTO account(namespace, size_bytes, stored_bytes, revision) "
    "SELECT namespace, sum(size_bytes), sum(stored_bytes), 0 FROM ("
    "SELECT a.namespace, v.size_bytes, 0 AS stored_bytes FROM version v "
    "JOIN artifact a ON a.id = v.artifact_id "
    "UNION ALL SELECT j.namespace, c.size_bytes, 0 FROM checkpoint c JOIN training_job j ON j.number = c.job "
    "UNION ALL SELECT namespace, 0, sum(length) FROM ("
    "SELECT DISTINCT t.namespace, c.id, c.length FROM hold h "
    "JOIN tree t ON t.id = h.tree JOIN chunk c ON c.id = h.chunk) GROUP BY namespace) GROUP BY namespace"
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table and count what is there."""

    class Account(peewee.Model):
        namespace = peewee.TextField(primary_key=True)
        size_bytes = peewee.IntegerField()
        stored_bytes = peewee.IntegerField()
        size_quota = peewee.IntegerField(null=True)
        stored_quota = peewee.IntegerField(null=True)
        revision = peewee.IntegerField()

        class Meta:
            database = db
            legacy_table_names = False

    db.create_tables([Account])
    db.execute_sql(_FILL)
