"""Transfer: packs, chunks and who holds them, trees with their files and segments, uploads."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables."""
    db.create_tables([*_shelf(db), *_files(db), *_uploads(db)])


def _shelf(db: peewee.SqliteDatabase) -> list[type[peewee.Model]]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Pack(Table):
        name = peewee.TextField(unique=True)
        size_bytes = peewee.IntegerField()
        created = peewee.FloatField()
        missing = peewee.IntegerField(default=0)

    class Chunk(Table):
        digest = peewee.BlobField(unique=True)
        pack = peewee.IntegerField(index=True)
        position = peewee.IntegerField()
        length = peewee.IntegerField()
        lost = peewee.IntegerField(default=0)

    class Tree(Table):
        name = peewee.TextField(unique=True)
        namespace = peewee.TextField()
        artifact = peewee.TextField(default="")
        digest = peewee.BlobField(default=b"")
        created = peewee.FloatField()
        expires = peewee.FloatField(null=True)

    class Hold(Table):
        chunk = peewee.IntegerField()
        tree = peewee.IntegerField(index=True)

        class Meta:
            primary_key = peewee.CompositeKey("chunk", "tree")
            without_rowid = True

    Chunk.add_index(Chunk.index(Chunk.lost, where=Chunk.lost == 1, name="chunk_lost"))
    return [Pack, Chunk, Tree, Hold]


def _files(db: peewee.SqliteDatabase) -> list[type[peewee.Model]]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class TreeFile(Table):
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
            indexes = ((("tree", "path"), True),)

    class Segment(Table):
        file = peewee.IntegerField()
        position = peewee.IntegerField()
        size_bytes = peewee.IntegerField()
        entries = peewee.BlobField()

        class Meta:
            indexes = ((("file", "position"), True),)

    return [TreeFile, Segment]


def _uploads(db: peewee.SqliteDatabase) -> list[type[peewee.Model]]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Upload(Table):
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
            indexes = (
                (("state", "expires"), False),
                (("creator", "state"), False),
                (("namespace", "id"), False),
            )

    return [Upload]
