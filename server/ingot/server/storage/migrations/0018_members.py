"""Who belongs to which namespace, whom single artifacts are shown to, and which namespaces were deleted."""

import peewee
from playhouse.migrate import SqliteMigrator

_OWNERS = "INSERT INTO member(namespace, user, role, created) SELECT id, id, 'OWNER', created FROM user"


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables; every user owns the namespace of the same id."""

    class Artifact(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Member(peewee.Model):
        namespace = peewee.TextField()
        user = peewee.TextField()
        role = peewee.TextField()
        created = peewee.FloatField()

        class Meta:
            database = db
            legacy_table_names = False
            primary_key = peewee.CompositeKey("namespace", "user")
            without_rowid = True
            indexes = ((("user", "role"), False), (("namespace", "role"), False))

    class AccessGrant(peewee.Model):
        user = peewee.TextField()
        artifact = peewee.ForeignKeyField(Artifact, index=False)
        granted_by = peewee.TextField()
        created = peewee.FloatField()

        class Meta:
            database = db
            legacy_table_names = False
            primary_key = peewee.CompositeKey("user", "artifact")
            without_rowid = True
            indexes = ((("artifact", "user"), False),)

    db.create_tables([Member, AccessGrant])
    db.execute_sql("ALTER TABLE namespace ADD COLUMN deleted REAL")
    db.execute_sql(_OWNERS)
