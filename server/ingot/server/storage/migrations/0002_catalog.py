"""Artifacts and how they are found, versions, aliases."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables."""
    artifact = _artifacts(db)
    db.create_tables([artifact, *_parts(db, artifact)])
    # The text is split and normalised by core/texts.py already: every letter, mark and digit counts as it is.
    db.execute_sql(
        "CREATE VIRTUAL TABLE artifact_search USING fts5("
        "text, tokenize = \"unicode61 remove_diacritics 0 categories 'L* M* N* Co'\")"
    )


def _artifacts(db: peewee.SqliteDatabase) -> type[peewee.Model]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Artifact(Table):
        uid = peewee.TextField(unique=True)
        name = peewee.TextField(unique=True, null=True)
        live = peewee.IntegerField()
        namespace = peewee.TextField()
        kind = peewee.TextField()
        artifact = peewee.TextField()
        audience = peewee.TextField(null=True)
        owner = peewee.TextField()
        display_name = peewee.TextField()
        description = peewee.TextField()
        card = peewee.TextField()
        tags = peewee.TextField()
        language = peewee.TextField()
        license = peewee.TextField()
        framework = peewee.TextField()
        task_type = peewee.TextField()
        model_type = peewee.TextField()
        source = peewee.TextField()
        requirements = peewee.TextField()
        metadata = peewee.TextField()
        visibility = peewee.TextField()
        lifecycle = peewee.TextField()
        format = peewee.TextField()
        current_version = peewee.TextField()
        version_count = peewee.IntegerField()
        size_bytes = peewee.IntegerField()
        version_bytes = peewee.IntegerField()
        stored_bytes = peewee.IntegerField()
        created = peewee.FloatField()
        updated = peewee.FloatField()
        deleted = peewee.FloatField(null=True)
        revision = peewee.IntegerField()

        class Meta:
            indexes = (
                (("live", "kind"), False),
                (("live", "kind", "updated"), False),
                (("live", "kind", "name"), False),
                (("audience", "kind"), False),
                (("audience", "kind", "updated"), False),
                (("audience", "kind", "name"), False),
                (("namespace", "live", "kind"), False),
                (("namespace", "live", "kind", "updated"), False),
                (("namespace", "live", "kind", "name"), False),
            )

    return Artifact


def _parts(db: peewee.SqliteDatabase, artifact_table: type[peewee.Model]) -> list[type[peewee.Model]]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class ArtifactTerm(Table):
        field = peewee.TextField()
        value = peewee.TextField()
        artifact = peewee.ForeignKeyField(artifact_table)

        class Meta:
            primary_key = peewee.CompositeKey("field", "value", "artifact")
            without_rowid = True

    class Version(Table):
        uid = peewee.TextField(unique=True)
        artifact = peewee.ForeignKeyField(artifact_table)
        version = peewee.TextField()
        number = peewee.IntegerField()
        state = peewee.TextField()
        changelog = peewee.TextField()
        metadata = peewee.TextField()
        performance_metrics = peewee.TextField()
        format = peewee.TextField()
        digest = peewee.BlobField()
        file_count = peewee.IntegerField()
        size_bytes = peewee.IntegerField()
        new_bytes = peewee.IntegerField()
        creator = peewee.TextField()
        created = peewee.FloatField()
        ready = peewee.FloatField(null=True)
        upload = peewee.TextField()
        operation = peewee.TextField()
        training_job = peewee.TextField()
        hub_commit = peewee.TextField()
        dataset_version = peewee.TextField(index=True)
        base_version = peewee.TextField(index=True)

        class Meta:
            indexes = ((("artifact", "version"), True), (("artifact", "number"), False))

    class Alias(Table):
        artifact = peewee.ForeignKeyField(artifact_table, index=False)
        alias_id = peewee.TextField(column_name="alias")
        version = peewee.ForeignKeyField(Version)
        updated = peewee.FloatField()
        updated_by = peewee.TextField()
        revision = peewee.IntegerField()

        class Meta:
            primary_key = peewee.CompositeKey("artifact", "alias_id")
            without_rowid = True

    return [ArtifactTerm, Version, Alias]
