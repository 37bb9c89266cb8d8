"""Artifacts are found by sets of ids and by all their words, and every change of one has a number.

The sets are filled by the server when it starts: they are made from texts in a form that only it knows.
"""

import peewee
from playhouse.migrate import SqliteMigrator

_STATEMENTS = (
    "DROP TABLE artifact_term",
    "DROP TABLE artifact_search",
    # Words are split and normalised already, each once: where in the text they stood does not matter.
    """
    CREATE VIRTUAL TABLE artifact_words USING fts5(
        words, detail = none, columnsize = 0, prefix = '2 3',
        tokenize = "unicode61 remove_diacritics 0 categories 'L* M* N* Co'"
    )
    """,
    "CREATE VIRTUAL TABLE artifact_vocabulary USING fts5vocab('artifact_words', 'row')",
    "ALTER TABLE artifact ADD COLUMN change INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE artifact ADD COLUMN reach TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE artifact ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0",
    "UPDATE artifact SET change = id, reach = CASE visibility WHEN 'PRIVATE' THEN namespace ELSE '*' END",
    "INSERT INTO counter(word, value) SELECT 'artifact change', coalesce(max(id), 0) FROM artifact",
    "CREATE INDEX artifact_change ON artifact(change)",
    "CREATE INDEX artifact_live_indexed ON artifact(live, indexed)",
    "CREATE INDEX artifact_live_size_bytes ON artifact(live, size_bytes)",
    "CREATE INDEX artifact_live_version_count ON artifact(live, version_count)",
    "CREATE INDEX artifact_live_created ON artifact(live, created)",
    "CREATE INDEX artifact_live_updated ON artifact(live, updated)",
    "CREATE INDEX artifact_order ON artifact(id, created, updated, size_bytes, version_count, name)",
)


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Drop what artifacts were found by, and make what they will be found by."""

    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class ArtifactValue(Table):
        field = peewee.TextField()
        value = peewee.TextField()
        count = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])

        class Meta:
            indexes = ((("field", "value"), True), (("field", "count"), False))

    class ArtifactBlock(Table):
        id = peewee.IntegerField(primary_key=True)
        bits = peewee.BlobField()

    class ArtifactMarks(Table):
        artifact = peewee.IntegerField(primary_key=True)
        sets = peewee.BlobField()

    class ArtifactCount(Table):
        part = peewee.TextField()
        field = peewee.TextField()
        value = peewee.IntegerField()
        count = peewee.IntegerField()

        class Meta:
            primary_key = peewee.CompositeKey("part", "value")
            without_rowid = True
            indexes = ((("part", "field", "count"), False),)

    class ArtifactTotal(Table):
        part = peewee.TextField(primary_key=True)
        artifacts = peewee.IntegerField()
        versions = peewee.IntegerField()
        size_bytes = peewee.IntegerField()

    for statement in _STATEMENTS:
        db.execute_sql(statement)
    db.create_tables([ArtifactValue, ArtifactBlock, ArtifactMarks, ArtifactCount, ArtifactTotal])
