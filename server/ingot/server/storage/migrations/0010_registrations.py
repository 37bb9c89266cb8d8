"""Artifacts that are registered with their source."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table."""

    class Registration(peewee.Model):
        artifact_uid = peewee.TextField(primary_key=True)
        name = peewee.TextField(unique=True)
        description = peewee.TextField()
        source = peewee.TextField()
        declared = peewee.IntegerField()
        original_url = peewee.TextField()
        local_path = peewee.TextField()
        expected_checksum = peewee.TextField()
        expected_size = peewee.IntegerField()
        updated_at_ms = peewee.IntegerField(index=True)
        downloaded_at_ms = peewee.IntegerField(null=True, index=True)
        size = peewee.IntegerField()
        checksum = peewee.TextField()
        status = peewee.TextField()
        error = peewee.TextField()
        download_progress = peewee.FloatField()
        downloaded = peewee.IntegerField()
        download_job_id = peewee.TextField(index=True)

        class Meta:
            database = db
            legacy_table_names = False

    db.create_tables([Registration])
