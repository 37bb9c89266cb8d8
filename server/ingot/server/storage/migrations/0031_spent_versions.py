"""Ids of versions that were purged: none is given again."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the table; what was purged before is not known any more."""

    class SpentVersion(peewee.Model):
        artifact_id = peewee.IntegerField()
        version = peewee.TextField()
        number = peewee.IntegerField()

        class Meta:
            database = db
            legacy_table_names = False
            primary_key = peewee.CompositeKey("artifact_id", "version")
            without_rowid = True

    db.create_tables([SpentVersion])
