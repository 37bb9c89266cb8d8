"""Users with their namespaces, tokens, requests that were carried out, counters."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables."""

    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Namespace(Table):
        id = peewee.TextField(primary_key=True)
        created = peewee.FloatField()

    class User(Table):
        id = peewee.TextField(primary_key=True)
        uid = peewee.TextField(unique=True)
        display_name = peewee.TextField()
        role = peewee.TextField()
        created = peewee.FloatField()
        disabled = peewee.IntegerField(default=0)

    class ApiToken(Table):
        id = peewee.IntegerField(primary_key=True)
        user = peewee.ForeignKeyField(User, index=False)
        digest = peewee.BlobField(unique=True)
        display_name = peewee.TextField()
        role = peewee.TextField()
        scopes = peewee.TextField()
        created = peewee.FloatField()
        expires = peewee.FloatField(null=True)
        used = peewee.FloatField(null=True)
        revoked = peewee.FloatField(null=True)

        class Meta:
            indexes = ((("user", "id"), False),)

    class Request(Table):
        principal = peewee.TextField()
        method = peewee.TextField()
        request_id = peewee.TextField()
        digest = peewee.BlobField()
        result = peewee.TextField()
        created = peewee.FloatField(index=True)

        class Meta:
            primary_key = peewee.CompositeKey("principal", "method", "request_id")
            without_rowid = True

    class Counter(Table):
        word = peewee.TextField(primary_key=True)
        value = peewee.IntegerField()

    db.create_tables([Namespace, User, ApiToken, Request, Counter])
