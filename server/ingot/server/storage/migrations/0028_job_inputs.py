"""Which versions training jobs learn and start from, so that a version finds its jobs."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the table, with the jobs that there are."""

    class JobInput(peewee.Model):
        version = peewee.TextField()
        job = peewee.IntegerField(index=True)
        relation = peewee.TextField()

        class Meta:
            database = db
            legacy_table_names = False
            primary_key = peewee.CompositeKey("version", "job", "relation")
            without_rowid = True

    db.create_tables([JobInput])
    for field, relation in (("dataset", "DATASET"), ("base", "BASE")):
        db.execute_sql(
            "INSERT INTO job_input(version, job, relation) "
            f"SELECT json_extract(definition, '$.{field}.name'), number, ? FROM training_job "
            f"WHERE json_extract(definition, '$.{field}.name') IS NOT NULL",
            (relation,),
        )
