"""Counts of uploads that outlast them, and which files the server has read whole."""

import peewee
from playhouse.migrate import SqliteMigrator

_FILL = (
    "INSERT INTO upload_tally(creator, namespace, day, total, successful, failed, files, size_bytes) "
    "SELECT creator, namespace, CAST(created / 86400 AS INTEGER), count(*), sum(stage = 'FRESH'), "
    "sum(stage = 'FAILED'), sum(CASE stage WHEN 'FRESH' THEN file_count ELSE 0 END), "
    "sum(CASE stage WHEN 'FRESH' THEN manifest_bytes ELSE 0 END) FROM upload GROUP BY 1, 2, 3"
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table, count the uploads that are there, and add the column."""

    class UploadTally(peewee.Model):
        creator = peewee.TextField()
        namespace = peewee.TextField()
        day = peewee.IntegerField()
        total = peewee.IntegerField()
        successful = peewee.IntegerField()
        failed = peewee.IntegerField()
        files = peewee.IntegerField()
        size_bytes = peewee.IntegerField()

        class Meta:
            database = db
            legacy_table_names = False
            primary_key = peewee.CompositeKey("creator", "namespace", "day")
            indexes = ((("namespace", "day"), False),)

    db.create_tables([UploadTally])
    db.execute_sql(_FILL)
    db.execute_sql("ALTER TABLE tree_file ADD COLUMN verified INTEGER NOT NULL DEFAULT 0")
