"""Secrets of users for outside hosts, sealed."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table."""

    class User(peewee.Model):
        id = peewee.TextField(primary_key=True)

        class Meta:
            database = db
            legacy_table_names = False

    class Credential(peewee.Model):
        user = peewee.ForeignKeyField(User, index=False)
        host = peewee.TextField()
        sealed = peewee.BlobField()
        created = peewee.FloatField()
        updated = peewee.FloatField()

        class Meta:
            database = db
            legacy_table_names = False
            primary_key = peewee.CompositeKey("user", "host")
            without_rowid = True

    db.create_tables([Credential])
