"""Folders that follow `latest` of an artifact."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table."""

    class KeptExport(peewee.Model):
        id = peewee.AutoField()
        folder_key = peewee.TextField(unique=True)
        artifact_uid = peewee.TextField(index=True)
        folder = peewee.TextField()
        root = peewee.TextField()
        path = peewee.TextField()
        name = peewee.TextField()
        layout = peewee.TextField()
        requester = peewee.TextField(index=True)
        version = peewee.TextField(default="")
        created = peewee.FloatField()

        class Meta:
            database = db
            legacy_table_names = False

    db.create_tables([KeptExport])
