"""The audit log."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table."""

    class AuditEntry(peewee.Model):
        number = peewee.IntegerField(primary_key=True)
        time = peewee.IntegerField()
        action = peewee.TextField()
        method = peewee.TextField()
        target = peewee.TextField()
        principal = peewee.TextField()
        user = peewee.TextField()
        token = peewee.TextField()
        declared_user = peewee.TextField()
        address = peewee.TextField()
        client = peewee.TextField()
        call_id = peewee.TextField()
        code = peewee.TextField()
        facts = peewee.TextField()
        previous = peewee.TextField()
        hash = peewee.TextField()

        class Meta:
            database = db
            legacy_table_names = False
            indexes = (
                (("principal", "number"), False),
                (("target", "number"), False),
                (("action", "number"), False),
            )

    db.create_tables([AuditEntry])
