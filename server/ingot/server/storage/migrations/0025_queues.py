"""An index that counts the operations of each queue and state without reading them."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the index."""
    db.execute_sql("CREATE INDEX operation_queue_state ON operation(queue, state)")
