"""For whom a worker trained a version: kept with it, since jobs are deleted."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the column, with what the jobs that there are tell."""
    db.execute_sql("ALTER TABLE version ADD COLUMN maker TEXT NOT NULL DEFAULT ''")
    db.execute_sql(
        "UPDATE version SET maker = ifnull((SELECT json_extract(definition, '$.creator') FROM training_job "
        "WHERE 'trainingJobs/job_' || number = version.training_job), '') "
        "WHERE training_job != '' AND creator LIKE '%/tokens/%'"
    )
