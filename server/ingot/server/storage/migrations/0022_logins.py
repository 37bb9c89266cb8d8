"""Passwords of users, and their logins."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables."""

    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        id = peewee.TextField(primary_key=True)

    class Password(Table):
        user = peewee.ForeignKeyField(User, column_name="user", primary_key=True)
        hashed = peewee.TextField()
        changed = peewee.FloatField()

        class Meta:
            without_rowid = True

    class Login(Table):
        number = peewee.IntegerField(primary_key=True)
        user = peewee.ForeignKeyField(User, column_name="user", index=False)
        nonce = peewee.BlobField()
        generation = peewee.IntegerField()
        created = peewee.FloatField()
        refreshed = peewee.FloatField()
        expires = peewee.FloatField(index=True)
        ended = peewee.FloatField(null=True)

        class Meta:
            indexes = ((("user", "number"), False),)

    db.create_tables([Password, Login])
