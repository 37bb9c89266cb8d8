"""Packs with holes, and packs that were found and not made."""

import peewee
from playhouse.migrate import SqliteMigrator, migrate


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns."""
    migrate(
        migrator.add_column("pack", "punched", peewee.IntegerField(null=True)),
        migrator.add_column("pack", "trimmed", peewee.FloatField(null=True)),
        migrator.add_column("pack", "adopted", peewee.FloatField(null=True)),
        migrator.add_index("pack", ("trimmed",), False),
    )
