"""Transfer: packs, chunks and who holds them, trees with their files and segments, uploads."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables."""

    class Pack(db.Model):
        name = peewee.TextField(unique=True)
        size_bytes = peewee.IntegerField()
        created = peewee.FloatField()
        missing = peewee.IntegerField(default=0)

        class Meta:
            legacy_table_names = False

    class Chunk(db.Model):
        digest = peewee.BlobField(unique=True)
        pack = peewee.IntegerField(index=True)
        position = peewee.IntegerField()
        length = peewee.IntegerField()
        lost = peewee.IntegerField(default=0)

        class Meta:
            legacy_table_names = False

    class Tree(db.Model):
        name = peewee.TextField(unique=True)
        namespace = peewee.TextField()
        artifact = peewee.TextField(default="")
        digest = peewee.BlobField(default=b"")
        created = peewee.FloatField()
        expires = peewee.FloatField(null=True)

        class Meta:
            legacy_table_names = False

    class Hold(db.Model):
        chunk = peewee.IntegerField()
        tree = peewee.IntegerField(index=True)

        class Meta:
            legacy_table_names = False
            primary_key = peewee.CompositeKey("chunk", "tree")
            without_rowid = True

    class TreeFile(db.Model):
        tree = peewee.IntegerField()
        path = peewee.TextField()
        profile = peewee.TextField()
        size_bytes = peewee.IntegerField()
        segment_count = peewee.IntegerField()
        chunk_count = peewee.IntegerField(default=0)
        root = peewee.BlobField(default=b"")
        blake3 = peewee.TextField(default="")
        sha256 = peewee.TextField(default="")
        format = peewee.TextField(default="")

        class Meta:
            legacy_table_names = False
            indexes = ((("tree", "path"), True),)

    class Segment(db.Model):
        file = peewee.IntegerField()
        position = peewee.IntegerField()
        size_bytes = peewee.IntegerField()
        entries = peewee.BlobField()

        class Meta:
            legacy_table_names = False
            indexes = ((("file", "position"), True),)

    class Upload(db.Model):
        id = peewee.AutoField()
        state = peewee.TextField()
        namespace = peewee.TextField()
        target = peewee.TextField()
        tree = peewee.IntegerField()
        creator = peewee.TextField()
        size_bytes = peewee.IntegerField()
        original_name = peewee.TextField()
        description = peewee.TextField()
        created = peewee.FloatField()
        updated = peewee.FloatField()
        expires = peewee.FloatField()
        stored_bytes = peewee.IntegerField(default=0)
        stored_chunks = peewee.IntegerField(default=0)
        received_bytes = peewee.IntegerField(default=0)
        new_bytes = peewee.IntegerField(default=0)
        file_count = peewee.IntegerField(default=0)
        manifest_bytes = peewee.IntegerField(default=0)
        chunk_count = peewee.IntegerField(default=0)
        revision = peewee.IntegerField(default=0)
        missing_chunks = peewee.IntegerField(default=0)
        result = peewee.TextField(default="")
        result_digest = peewee.BlobField(default=b"")
        problem = peewee.TextField(default="")

        class Meta:
            legacy_table_names = False
            indexes = (
                (("state", "expires"), False),
                (("creator", "state"), False),
                (("namespace", "id"), False),
            )

    db.create_tables([Pack, Chunk, Tree, Hold, TreeFile, Segment, Upload])
