"""What versions must pass before others see them, and where each upload stands for people."""

import peewee
from playhouse.migrate import SqliteMigrator

# Columns are added with a default, which SQLite does without writing the table anew.
_STATEMENTS = (
    "ALTER TABLE artifact ADD COLUMN validation TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE version ADD COLUMN source TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE version ADD COLUMN asked_aliases TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE version ADD COLUMN validation TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX version_upload ON version(upload)",
    "CREATE INDEX version_validation ON version(validation)",
    "CREATE INDEX version_artifact_id_state ON version(artifact_id, state)",
    "ALTER TABLE upload ADD COLUMN version_state TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE upload ADD COLUMN stage TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE upload ADD COLUMN opened REAL NOT NULL DEFAULT 0",
    (
        "UPDATE upload SET opened = created, stage = CASE state WHEN 'OPEN' THEN 'UPLOADING' "
        "WHEN 'SEALING' THEN 'PROCESSING' WHEN 'COMMITTED' THEN 'FRESH' ELSE 'FAILED' END"
    ),
    "CREATE INDEX upload_stage ON upload(stage)",
    "CREATE INDEX upload_namespace_stage ON upload(namespace, stage)",
    "CREATE INDEX upload_creator_id ON upload(creator, id)",
    "CREATE INDEX upload_creator_stage ON upload(creator, stage)",
    "CREATE INDEX upload_stage_updated ON upload(stage, updated)",
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Add the columns, and the stage of the uploads that are there."""
    for statement in _STATEMENTS:
        db.execute_sql(statement)
