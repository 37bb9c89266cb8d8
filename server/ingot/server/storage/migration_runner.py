"""Bring the database to the schema of this code, safely when several processes start together.

The numbered files of migrations/ run through Peewee's own runner, each in one transaction together with its
row in the table schema_migration. That runner takes no lock, so ours holds a file lock beside the database:
the first process applies, the others wait and then find nothing to do.
"""

import logging
from contextlib import nullcontext
from pathlib import Path

from playhouse.migrations import Runner

from ingot.server.storage import connections, full_disk
from ingot.server.storage.database import MEMORY, Database

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"


class MigrationError(Exception):
    """The schema could not be brought up to date; the database is as it was before the failing step."""


def migrate(database: Database, folder: Path = MIGRATIONS) -> list[str]:
    """Apply all pending migrations of `folder` and return their names, oldest first.

    Raises MigrationError when a step fails (what it had done is rolled back, earlier steps stay), and when
    the database was written by newer code.
    """
    lock = nullcontext() if database.path == MEMORY else connections.file_lock(database.path)
    with lock, database.direct() as connection:
        runner = Runner(connection, directory=str(folder))
        known = [migration.name for migration in runner.migrations()]
        applied = runner.applied()
        newer = sorted(name for name in applied if name not in known)
        if newer:
            raise MigrationError(
                f"{database.path} has migrations that this version does not know: {', '.join(newer)}. "
                "It was written by a newer version; install that one, or restore a backup."
            )
        pending = [name for name in known if name not in applied]
        for name in pending:
            try:
                runner.up(name)
            except Exception as error:
                full = full_disk.is_full(error, database.path)
                why = full_disk.startup_advice(database.path) if full else error
                raise MigrationError(
                    f"migration {name} of {database.path} failed and was rolled back: {why}"
                ) from error
            log.info("database.migrated name=%s", name)
        return pending
