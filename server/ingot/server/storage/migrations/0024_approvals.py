"""Approvals of versions, and what they need."""

import peewee
from playhouse.migrate import SqliteMigrator

_STATEMENTS = (
    "ALTER TABLE artifact ADD COLUMN approval TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE version ADD COLUMN approval TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX version_artifact_id_approval ON version (artifact_id, approval)",
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table, and the columns that versions and artifacts have of it."""

    class Approval(peewee.Model):
        number = peewee.AutoField()
        version = peewee.TextField()
        version_uid = peewee.TextField()
        namespace = peewee.TextField()
        artifact_uid = peewee.TextField()
        state = peewee.TextField()
        requester = peewee.TextField()
        requester_user = peewee.TextField()
        creator = peewee.TextField()
        creator_user = peewee.TextField()
        comment = peewee.TextField()
        evidence = peewee.TextField()
        created = peewee.FloatField()
        decider = peewee.TextField()
        decision_comment = peewee.TextField()
        decided = peewee.FloatField(null=True)

        class Meta:
            database = db
            legacy_table_names = False
            indexes = (
                (("state", "number"), False),
                (("namespace", "number"), False),
                (("namespace", "state", "number"), False),
                (("requester", "number"), False),
                (("artifact_uid", "number"), False),
                (("version_uid", "state"), False),
            )

    db.create_tables([Approval])
    for statement in _STATEMENTS:
        db.execute_sql(statement)
