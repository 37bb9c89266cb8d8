"""When packs were checked, and which of them may go."""

import peewee
from playhouse.migrate import SqliteMigrator, migrate


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns."""
    migrate(
        migrator.add_column("pack", "checked", peewee.FloatField(default=0.0)),
        migrator.add_column("pack", "condemned", peewee.FloatField(null=True)),
        migrator.add_index("pack", ("checked",), False),
        migrator.add_index("pack", ("condemned",), False),
    )
