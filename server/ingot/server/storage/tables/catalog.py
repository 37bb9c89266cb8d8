"""Tables of the catalog: artifacts, versions, aliases, approvals, kept exports and registered sources."""

import peewee

from ingot.server.storage.tables.base import Table


class Artifact(Table):
    """A model or dataset. `name` (lower case) and `audience` are NULL in the trash: not found, not listed.

    `audience` is the namespace of a private artifact, `*` for one that everybody signed in may read.
    """

    id = peewee.AutoField()
    uid = peewee.TextField(unique=True)
    name = peewee.TextField(unique=True, null=True)
    live = peewee.IntegerField()
    namespace = peewee.TextField()
    kind = peewee.TextField()
    artifact = peewee.TextField()  # the id with its case
    audience = peewee.TextField(null=True)
    owner = peewee.TextField()
    display_name = peewee.TextField()
    description = peewee.TextField()
    card = peewee.TextField()
    tags = peewee.TextField()  # JSON, like requirements and metadata
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
    validation = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])  # JSON
    approval = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])  # JSON
    format = peewee.TextField()
    current_version = peewee.TextField()
    version_count = peewee.IntegerField()
    size_bytes = peewee.IntegerField()
    version_bytes = peewee.IntegerField()
    # The same three counting versions that not everybody may see; NULL where there are none.
    own_size_bytes = peewee.IntegerField(null=True)
    own_version_count = peewee.IntegerField(null=True)
    own_version_bytes = peewee.IntegerField(null=True)
    own_updated = peewee.FloatField(null=True)  # so too
    stored_bytes = peewee.IntegerField()
    created = peewee.FloatField()
    updated = peewee.FloatField()
    deleted = peewee.FloatField(null=True, index=True)
    revision = peewee.IntegerField()
    facts = peewee.TextField(
        default="", constraints=[peewee.SQL("DEFAULT ''")]
    )  # JSON, of the current version
    change = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])  # grows over all artifacts
    reach = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])  # widest audience ever
    indexed = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])  # texts.SEARCH_FORM then
    public_mark = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    public_change = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])  # when that changed

    class Meta:
        indexes = (
            (("change",), False),
            (("public_change",), False),
            (("live", "indexed"), False),
            # numbers that filters compare and lists are sorted by
            (("live", "size_bytes"), False),
            (("live", "version_count"), False),
            (("live", "created"), False),
            (("live", "updated"), False),
            # what lists are sorted by, of artifacts whose ids are known
            (("id", "created", "updated", "size_bytes", "version_count", "name"), False),
            # three scopes of lists (see core/artifacts.py) in three orders; the first is by id
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


class ArtifactValue(Table):
    """A value that artifacts are found by, and how many have it (artifact_sets.py)."""

    id = peewee.AutoField()
    field = peewee.TextField()
    value = peewee.TextField()
    count = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])

    class Meta:
        indexes = ((("field", "value"), True), (("field", "count"), False))


class ArtifactBlock(Table):
    """Which of 65,536 artifacts have a value: a roaring bitmap. The id holds the value, then the block."""

    id = peewee.IntegerField(primary_key=True)
    bits = peewee.BlobField()


class ArtifactMarks(Table):
    """Which values an artifact has: a roaring bitmap of their ids."""

    artifact = peewee.IntegerField(primary_key=True)
    sets = peewee.BlobField()


class ArtifactCount(Table):
    """How many artifacts of a part of the catalog have a value. Words are beside it: artifact_words."""

    part = peewee.TextField()
    field = peewee.TextField()
    value = peewee.IntegerField()
    count = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("part", "value")
        without_rowid = True
        indexes = ((("part", "field", "count"), False),)


class ArtifactTotal(Table):
    """What the artifacts of a part of the catalog come to."""

    part = peewee.TextField(primary_key=True)
    artifacts = peewee.IntegerField()
    versions = peewee.IntegerField()
    size_bytes = peewee.IntegerField()
    # The same two, counting versions that not everybody may see.
    own_versions = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])
    own_size_bytes = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])


class AccessGrant(Table):
    """Leave to read an artifact for somebody who does not belong to its namespace."""

    user = peewee.TextField()
    artifact = peewee.ForeignKeyField(Artifact, index=False)
    granted_by = peewee.TextField()
    created = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("user", "artifact")
        without_rowid = True
        indexes = ((("artifact", "user"), False),)


class Version(Table):
    """A version of an artifact; `number` is what its id starts with."""

    id = peewee.AutoField()
    uid = peewee.TextField(unique=True)
    artifact = peewee.ForeignKeyField(Artifact)
    version = peewee.TextField()
    number = peewee.IntegerField()
    state = peewee.TextField()
    changelog = peewee.TextField()
    metadata = peewee.TextField()  # JSON, like performance_metrics
    performance_metrics = peewee.TextField()
    format = peewee.TextField()
    digest = peewee.BlobField()
    file_count = peewee.IntegerField()
    size_bytes = peewee.IntegerField()
    new_bytes = peewee.IntegerField()
    creator = peewee.TextField()
    created = peewee.FloatField()
    ready = peewee.FloatField(null=True)
    upload = peewee.TextField(index=True)
    operation = peewee.TextField()
    training_job = peewee.TextField()
    maker = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    hub_commit = peewee.TextField()
    dataset_version = peewee.TextField(index=True)
    base_version = peewee.TextField(index=True)
    source = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    asked_aliases = peewee.TextField(default="[]", constraints=[peewee.SQL("DEFAULT '[]'")])  # JSON
    validation = peewee.TextField(default="", index=True, constraints=[peewee.SQL("DEFAULT ''")])
    approval = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])  # state of its newest one
    deleted = peewee.FloatField(null=True, index=True)
    revision = peewee.IntegerField(default=1, constraints=[peewee.SQL("DEFAULT 1")])
    updated = peewee.FloatField(null=True)  # when what is said about it last changed
    facts = peewee.TextField(
        default="", constraints=[peewee.SQL("DEFAULT ''")]
    )  # JSON; "" before they are read

    class Meta:
        indexes = (
            (("artifact", "version"), True),
            (("artifact", "number"), False),
            (("artifact", "state"), False),
            (("artifact", "approval"), False),
        )


class SpentVersion(Table):
    """The id of a version that was purged; it goes with its artifact."""

    artifact_id = peewee.IntegerField()
    version = peewee.TextField()
    number = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("artifact_id", "version")
        without_rowid = True


class Alias(Table):
    """A movable name for a version."""

    artifact = peewee.ForeignKeyField(Artifact, index=False)
    alias_id = peewee.TextField(column_name="alias")  # Peewee has a method alias
    version = peewee.ForeignKeyField(Version)
    updated = peewee.FloatField()
    updated_by = peewee.TextField()
    revision = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("artifact", "alias_id")
        without_rowid = True


class AliasMove(Table):
    """A move of an alias: ids of versions, "" where there is none. `latest` is among them."""

    artifact_id = peewee.IntegerField()
    alias_id = peewee.TextField(column_name="alias")
    version = peewee.TextField()
    previous = peewee.TextField()
    moved = peewee.FloatField()
    moved_by = peewee.TextField()  # "" when it moved by itself

    class Meta:
        indexes = ((("artifact_id", "alias_id"), False),)


class FactsWanted(Table):
    """Versions whose files are to be looked at for facts."""

    version_id = peewee.IntegerField(primary_key=True)


class Approval(Table):
    """A request to approve a version, and what became of it; it outlives the version."""

    number = peewee.AutoField()
    version = peewee.TextField()  # name
    version_uid = peewee.TextField()
    namespace = peewee.TextField()
    artifact_uid = peewee.TextField()
    state = peewee.TextField()
    requester = peewee.TextField()
    requester_user = peewee.TextField()
    creator = peewee.TextField()
    creator_user = peewee.TextField()
    comment = peewee.TextField()
    evidence = peewee.TextField()  # JSON
    created = peewee.FloatField()
    decider = peewee.TextField()
    decision_comment = peewee.TextField()
    decided = peewee.FloatField(null=True)

    class Meta:
        indexes = (
            (("state", "number"), False),
            (("namespace", "number"), False),
            (("namespace", "state", "number"), False),
            (("requester", "number"), False),
            (("artifact_uid", "number"), False),
            (("version_uid", "state"), False),
        )


class KeptExport(Table):
    """A folder that follows `latest` of an artifact; `folder_key` is the folder without case."""

    id = peewee.AutoField()
    folder_key = peewee.TextField(unique=True)
    artifact_uid = peewee.TextField(index=True)
    folder = peewee.TextField()
    root = peewee.TextField()
    path = peewee.TextField()
    name = peewee.TextField()
    layout = peewee.TextField()
    requester = peewee.TextField(index=True)
    version = peewee.TextField(default="")
    created = peewee.FloatField()


class Registration(Table):
    """Where the files of a registered artifact come from, and their state; `source` and `error` are JSON."""

    artifact_uid = peewee.TextField(primary_key=True)
    name = peewee.TextField(unique=True)
    description = peewee.TextField()
    source = peewee.TextField()
    declared = peewee.IntegerField()
    original_url = peewee.TextField()
    local_path = peewee.TextField()
    expected_checksum = peewee.TextField()
    expected_size = peewee.IntegerField()
    updated_at_ms = peewee.IntegerField(index=True)
    downloaded_at_ms = peewee.IntegerField(null=True, index=True)
    size = peewee.IntegerField()
    checksum = peewee.TextField()
    status = peewee.TextField()
    error = peewee.TextField()
    download_progress = peewee.FloatField()
    downloaded = peewee.IntegerField()
    download_job_id = peewee.TextField(index=True)
