"""The record of calls, and the counters of artifacts."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables."""

    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class ActivityRow(Table):
        id = peewee.AutoField()
        time = peewee.FloatField(index=True)
        action = peewee.TextField()
        method = peewee.TextField()
        target = peewee.TextField()
        principal = peewee.TextField()
        declared_user = peewee.TextField()
        address = peewee.TextField()
        code = peewee.TextField()
        seconds = peewee.FloatField()
        call_id = peewee.TextField()

        class Meta:
            table_name = "activity"
            indexes = ((("principal", "id"), False), (("target", "id"), False))

    class UsageCounter(Table):
        artifact_uid = peewee.TextField(primary_key=True)
        download_count = peewee.IntegerField(default=0)
        access_count = peewee.IntegerField(default=0)
        unique_users = peewee.IntegerField(default=0)
        first_downloaded_by = peewee.TextField(default="")
        first_downloaded_from = peewee.TextField(default="")
        first_download_time = peewee.FloatField(null=True)

    class UsageSeen(Table):
        artifact_uid = peewee.TextField()
        kind = peewee.TextField()
        key = peewee.TextField()

        class Meta:
            primary_key = peewee.CompositeKey("artifact_uid", "kind", "key")
            without_rowid = True

    db.create_tables([ActivityRow, UsageCounter, UsageSeen])
