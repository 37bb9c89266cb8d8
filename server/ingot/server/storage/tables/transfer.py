"""Tables of bytes: packs, chunks, trees with their files, and uploads."""

import peewee

from ingot.server.storage.tables.base import Table


class Pack(Table):
    """A sealed pack; `missing` is 1 when it was not on the shelf at the last start.

    `checked` is when all of its chunks were last read again; `condemned` when it was decided that it may go.
    `trimmed` is when its unneeded chunks were forgotten, whose space is still to be given back, and `punched`
    the bytes of those whose space was. `adopted` is when it was found on the shelf, in no row.
    """

    name = peewee.TextField(unique=True)
    size_bytes = peewee.IntegerField()
    created = peewee.FloatField()
    missing = peewee.IntegerField(default=0)
    checked = peewee.FloatField(default=0.0, index=True)
    condemned = peewee.FloatField(null=True, index=True)
    punched = peewee.IntegerField(null=True)
    trimmed = peewee.FloatField(null=True, index=True)
    adopted = peewee.FloatField(null=True)


class Chunk(Table):
    """Where a chunk lies; `lost` is 1 when its bytes are damaged or its pack is missing."""

    digest = peewee.BlobField(unique=True)
    pack = peewee.IntegerField(index=True)
    position = peewee.IntegerField()
    length = peewee.IntegerField()
    lost = peewee.IntegerField(default=0)


Chunk.add_index(Chunk.index(Chunk.lost, where=Chunk.lost == 1, name="chunk_lost"))  # few, and health asks


class Tree(Table):
    """What owns a manifest and holds chunks: `name` is a version's uid, a checkpoint's or an upload's name.

    `artifact` names whose readers may read it; `expires` is NULL except for the tree of an upload. The last
    columns count its files; `cost` are the bytes that their rows take.
    """

    name = peewee.TextField(unique=True)
    namespace = peewee.TextField()
    artifact = peewee.TextField(default="")
    digest = peewee.BlobField(default=b"")
    created = peewee.FloatField()
    expires = peewee.FloatField(null=True)
    file_count = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])
    size_bytes = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])
    chunk_count = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])
    cost = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])


class Hold(Table):
    """A tree holds a chunk: the lease of an upload, or the reference of a version or checkpoint."""

    chunk = peewee.IntegerField()
    tree = peewee.IntegerField(index=True)

    class Meta:
        primary_key = peewee.CompositeKey("chunk", "tree")
        without_rowid = True


class TreeFile(Table):
    """A file of a tree; `root` is empty while the tree is an open upload."""

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
    verified = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])

    class Meta:
        indexes = ((("tree", "path"), True),)


class Segment(Table):
    """A run of packed entries (digest, length) of one file."""

    file = peewee.IntegerField()
    position = peewee.IntegerField()
    size_bytes = peewee.IntegerField()
    entries = peewee.BlobField()

    class Meta:
        indexes = ((("file", "position"), True),)


class Upload(Table):
    """An upload; the number in its name is its key."""

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
    version_state = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    stage = peewee.TextField(default="", index=True, constraints=[peewee.SQL("DEFAULT ''")])
    opened = peewee.FloatField(default=0.0, constraints=[peewee.SQL("DEFAULT 0")])

    class Meta:
        indexes = (
            (("state", "expires"), False),
            (("creator", "state"), False),
            (("namespace", "id"), False),
            (("namespace", "stage"), False),
            (("creator", "id"), False),
            (("creator", "stage"), False),
            (("stage", "updated"), False),
        )


class UploadTally(Table):
    """Counts of the uploads that somebody began in a namespace on one day; they outlast the uploads."""

    creator = peewee.TextField()
    namespace = peewee.TextField()
    day = peewee.IntegerField()
    total = peewee.IntegerField()
    successful = peewee.IntegerField()
    failed = peewee.IntegerField()
    files = peewee.IntegerField()
    size_bytes = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("creator", "namespace", "day")
        indexes = ((("namespace", "day"), False),)
