"""Indexes for turns inside a queue, and for how many operations of somebody have not ended."""

import peewee
from playhouse.migrate import SqliteMigrator

_STATEMENTS = (
    "CREATE INDEX operation_turn ON operation(phase, queue, priority DESC, requester, due)",
    "CREATE INDEX operation_requester_phase ON operation(requester, phase)",
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make them."""
    for statement in _STATEMENTS:
        db.execute_sql(statement)
