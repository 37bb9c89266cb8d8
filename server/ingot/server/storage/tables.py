"""All tables of the database, one class each, grouped by feature in the order of the migrations.

How to add one (say, to keep notes):

1. Here: a plain Peewee model under `Table`. It is bound to no database. Rows belong to whichever database
   the running unit of work is in (unit_of_work.py), so stores hold no connection and tests may run several
   servers in one process. Use TextField, IntegerField (also for booleans that are queried), FloatField
   (epoch seconds), BlobField (32-byte digests), JSONField; name keys after what they hold; declare indexes.

       class Note(Table):
           name = peewee.TextField(unique=True)
           text = peewee.TextField(default="")
           created = peewee.FloatField()

2. ``migrations/NNNN_<feature>.py``: the same declaration, frozen. tests/storage/test_schema.py compares every
   table of this file with a freshly migrated database, down to types, defaults and indexes.

       import peewee
       from playhouse.migrate import SqliteMigrator

       def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
           class Note(peewee.Model):
               name = peewee.TextField(unique=True)
               text = peewee.TextField(default="")
               created = peewee.FloatField()

               class Meta:
                   database = db
                   legacy_table_names = False

           db.create_tables([Note])

3. ``notes_sql.py``: the store behind the Protocol in core/stores.py. It takes and returns types
   of core, never rows: a query that runs after its unit of work ended raises.

       class NotesSql:
           def find(self, name: str) -> Note | None:
               row = tables.Note.get_or_none(tables.Note.name == name)
               return None if row is None else Note(row.name, row.text)

4. Callers: ``database.read(notes.find, "x")`` and ``database.write(notes.add, note).result()``.
   Compare-and-set is an UPDATE whose WHERE names the expected state and whose row count is checked. Lists
   use keyset.page.
"""

import peewee

from ingot.server.storage import unit_of_work


class Table(peewee.Model):
    """Base of all tables; `Table.select()` and the like work inside a unit of work only."""

    class Meta:
        database = unit_of_work.current
        legacy_table_names = False  # CamelCase becomes snake_case


# --- identity -----------------------------------------------------------------------------------------


class Namespace(Table):
    """What owns artifacts; every user has one of the same id. One that is deleted keeps its id taken."""

    id = peewee.TextField(primary_key=True)
    created = peewee.FloatField()
    deleted = peewee.FloatField(null=True)
    approval = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])  # JSON


class Member(Table):
    """A user who belongs to a namespace."""

    namespace = peewee.TextField()
    user = peewee.TextField()
    role = peewee.TextField()
    created = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("namespace", "user")
        without_rowid = True
        indexes = ((("user", "role"), False), (("namespace", "role"), False))


class Account(Table):
    """What a namespace has, and may have; a quota that is NULL is the server's default."""

    namespace = peewee.TextField(primary_key=True)
    size_bytes = peewee.IntegerField()
    stored_bytes = peewee.IntegerField()
    size_quota = peewee.IntegerField(null=True)
    stored_quota = peewee.IntegerField(null=True)
    revision = peewee.IntegerField()
    overhead_bytes = peewee.IntegerField(default=0, constraints=[peewee.SQL("DEFAULT 0")])


class User(Table):
    """A person."""

    id = peewee.TextField(primary_key=True)
    uid = peewee.TextField(unique=True)
    display_name = peewee.TextField()
    role = peewee.TextField()
    created = peewee.FloatField()
    disabled = peewee.IntegerField(default=0)


class ApiToken(Table):
    """A credential; the number in its name is its key, and its secret is kept as a digest only."""

    id = peewee.IntegerField(primary_key=True)
    user = peewee.ForeignKeyField(User, index=False)
    digest = peewee.BlobField(unique=True)
    display_name = peewee.TextField()
    role = peewee.TextField()
    scopes = peewee.TextField()  # separated by spaces
    created = peewee.FloatField()
    expires = peewee.FloatField(null=True)
    used = peewee.FloatField(null=True)
    revoked = peewee.FloatField(null=True)

    class Meta:
        indexes = ((("user", "id"), False),)


class Credential(Table):
    """A secret of a user for an outside host, sealed (sealing.py)."""

    user = peewee.ForeignKeyField(User, index=False)
    host = peewee.TextField()
    sealed = peewee.BlobField()
    created = peewee.FloatField()
    updated = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("user", "host")
        without_rowid = True


class Password(Table):
    """The hash of a user's password."""

    user = peewee.ForeignKeyField(User, column_name="user", primary_key=True)
    hashed = peewee.TextField()
    changed = peewee.FloatField()

    class Meta:
        without_rowid = True


class Login(Table):
    """A user who signed in with a password; `generation` is that of the refresh token that is good now."""

    number = peewee.IntegerField(primary_key=True)
    user = peewee.ForeignKeyField(User, column_name="user", index=False)
    nonce = peewee.BlobField()
    generation = peewee.IntegerField()
    created = peewee.FloatField()
    refreshed = peewee.FloatField()
    expires = peewee.FloatField(index=True)
    ended = peewee.FloatField(null=True)

    class Meta:
        indexes = ((("user", "number"), False),)


class Request(Table):
    """A request that was carried out, so that a repetition finds its result."""

    principal = peewee.TextField()
    method = peewee.TextField()
    request_id = peewee.TextField()
    digest = peewee.BlobField()
    result = peewee.TextField()
    created = peewee.FloatField(index=True)

    class Meta:
        primary_key = peewee.CompositeKey("principal", "method", "request_id")
        without_rowid = True


class Counter(Table):
    """The last number given to a word."""

    word = peewee.TextField(primary_key=True)
    value = peewee.IntegerField()


# --- catalog ------------------------------------------------------------------------------------------


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

    class Meta:
        indexes = (
            (("change",), False),
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
    """How many artifacts of a part of the catalog have a value. Words are beside it: artifact_words (FTS5)."""

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


# --- training -----------------------------------------------------------------------------------------


class TrainingJob(Table):
    """A training job: what is searched by stands in columns, the rest as JSON.

    `definition` never changes after the creation; `condition` changes with every report.
    """

    number = peewee.IntegerField(primary_key=True)
    uid = peewee.TextField(unique=True)
    namespace = peewee.TextField()
    state = peewee.TextField()
    attempt = peewee.IntegerField()
    revision = peewee.IntegerField()
    worker = peewee.TextField(index=True)
    lease_expires = peewee.FloatField(null=True)
    not_before = peewee.FloatField()
    training_seconds = peewee.FloatField()
    running_since = peewee.FloatField(null=True)
    definition = peewee.TextField()
    condition = peewee.TextField()

    class Meta:
        indexes = (
            (("state", "number"), False),
            (("namespace", "number"), False),
            (("namespace", "state", "number"), False),
        )


class JobInput(Table):
    """A version that a training job learns or starts from."""

    version = peewee.TextField()
    job = peewee.IntegerField(index=True)  # number
    relation = peewee.TextField()

    class Meta:
        primary_key = peewee.CompositeKey("version", "job", "relation")
        without_rowid = True


class Checkpoint(Table):
    """A checkpoint of a training job; its files hang on `tree`."""

    job = peewee.IntegerField()  # number
    step = peewee.IntegerField()
    epoch = peewee.FloatField()
    kind = peewee.TextField()
    attempt = peewee.IntegerField()
    world_size = peewee.IntegerField()
    metrics = peewee.TextField()  # JSON
    tree = peewee.IntegerField()
    digest = peewee.BlobField()
    size_bytes = peewee.IntegerField()
    file_count = peewee.IntegerField()
    created = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("job", "step")
        without_rowid = True


class EventLog(Table):
    """The log of one subject: the numbers of its oldest and newest event."""

    id = peewee.AutoField()
    subject = peewee.TextField(unique=True)
    oldest = peewee.IntegerField(default=1)
    latest = peewee.IntegerField(default=0)


class Event(Table):
    """One event. `producer_seq` is NULL for the server's own; level and rank belong to log lines."""

    log = peewee.IntegerField()
    seq = peewee.IntegerField()
    time = peewee.FloatField()
    attempt = peewee.IntegerField()
    producer_seq = peewee.IntegerField(null=True)
    kind = peewee.TextField()
    level = peewee.IntegerField(null=True)
    rank = peewee.IntegerField(null=True)
    body = peewee.TextField()  # JSON

    class Meta:
        primary_key = peewee.CompositeKey("log", "seq")
        without_rowid = True
        indexes = (
            (("log", "attempt", "producer_seq"), True),
            (("log", "kind", "seq"), False),
        )


class MetricPoint(Table):
    """A number at one step; NULL is no number (NaN)."""

    log = peewee.IntegerField()
    series = peewee.TextField()
    step = peewee.IntegerField()
    value = peewee.FloatField(null=True)
    time = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("log", "series", "step")
        without_rowid = True


class Worker(Table):
    """A machine that trains."""

    number = peewee.IntegerField(primary_key=True)
    token = peewee.TextField()
    display_name = peewee.TextField()
    facts = peewee.TextField()  # JSON
    address = peewee.TextField()
    created = peewee.FloatField()
    heard = peewee.FloatField(index=True)

    class Meta:
        indexes = ((("token", "display_name"), True),)


class Operation(Table):
    """Background work of the server; the rest of it as JSON in `document`.

    `phase` is waiting, claimed or ended; `live_key` is its key until it has ended, then NULL.
    """

    number = peewee.IntegerField(primary_key=True)
    kind = peewee.TextField()
    state = peewee.TextField()
    phase = peewee.TextField()
    requester = peewee.TextField()
    queue = peewee.TextField()
    target = peewee.TextField()
    live_key = peewee.TextField(null=True, unique=True)
    priority = peewee.IntegerField()
    due = peewee.FloatField()
    attempt = peewee.IntegerField()
    runner = peewee.TextField()
    lease = peewee.FloatField(null=True)
    finished = peewee.FloatField(null=True, index=True)
    change = peewee.IntegerField(unique=True)
    revision = peewee.IntegerField()
    document = peewee.TextField()
    namespace = peewee.TextField(constraints=[peewee.SQL("DEFAULT ''")])

    class Meta:
        indexes = (
            (("kind", "number"), False),
            (("state", "number"), False),
            (("requester", "number"), False),
            (("requester", "change"), False),
            (("requester", "phase"), False),
            (("queue", "number"), False),
            (("queue", "state"), False),
            (("target", "number"), False),
            (("phase", "due"), False),
            (("namespace", "number"), False),
            (("namespace", "change"), False),
        )


Operation.add_index(  # the order in which a queue is claimed
    Operation.index(
        Operation.phase,
        Operation.queue,
        Operation.priority.desc(),
        Operation.due,
        name="operation_claim",
    )
)
Operation.add_index(  # whose turn it is
    Operation.index(
        Operation.phase,
        Operation.queue,
        Operation.priority.desc(),
        Operation.requester,
        Operation.due,
        name="operation_turn",
    )
)


class Schedule(Table):
    """When a periodic kind of operation is due next."""

    kind = peewee.TextField(primary_key=True)
    due = peewee.FloatField()


# --- usage --------------------------------------------------------------------------------------------


class ActivityRow(Table):
    """One finished call; `artifact` (small letters) and `namespace` are what its target belongs to."""

    id = peewee.AutoField()
    time = peewee.FloatField()
    action = peewee.TextField()
    method = peewee.TextField()
    target = peewee.TextField()
    principal = peewee.TextField()
    declared_user = peewee.TextField()
    address = peewee.TextField()
    code = peewee.TextField()
    seconds = peewee.FloatField()
    call_id = peewee.TextField()
    reason = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    artifact = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    namespace = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])

    class Meta:
        table_name = "activity"
        indexes = (
            (("principal", "id"), False),
            (("target", "id"), False),
            (("artifact", "id"), False),
            (("namespace", "id"), False),
            (("action", "id"), False),
            (("principal", "action", "id"), False),
        )


ActivityRow.add_index(  # what went wrong, newest first
    ActivityRow.index(ActivityRow.id, name="activity_failed", where=(ActivityRow.reason != peewee.SQL("''")))
)


class UsageCounter(Table):
    """How much a subject was used: an artifact (its uid), `namespaces/{id}`, or `server` for everything."""

    subject = peewee.TextField(primary_key=True)
    is_artifact = peewee.IntegerField(default=1, constraints=[peewee.SQL("DEFAULT 1")])
    download_count = peewee.IntegerField(default=0)
    access_count = peewee.IntegerField(default=0)
    unique_users = peewee.IntegerField(default=0)
    first_downloaded_by = peewee.TextField(default="")
    first_downloaded_from = peewee.TextField(default="")
    first_download_time = peewee.FloatField(null=True)

    class Meta:
        indexes = ((("is_artifact", "download_count"), False),)


class UsageDay(Table):
    """The same on one day (UTC)."""

    subject = peewee.TextField()
    day = peewee.IntegerField()
    downloads = peewee.IntegerField()
    accesses = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("subject", "day")
        without_rowid = True
        indexes = ((("day",), False),)


class UsageUser(Table):
    """Who used a subject; with a version, who downloaded that one. Users are told apart by both names."""

    subject = peewee.TextField()
    version = peewee.TextField()
    principal = peewee.TextField()
    declared_user = peewee.TextField()
    address = peewee.TextField()
    downloads = peewee.IntegerField()
    accesses = peewee.IntegerField()
    first_time = peewee.FloatField()
    last_time = peewee.FloatField()

    class Meta:
        primary_key = peewee.CompositeKey("subject", "version", "principal", "declared_user")
        without_rowid = True
        indexes = ((("subject", "version", "last_time"), False),)


class UsageDownload(Table):
    """A download that was counted, and must not be counted again when it resumes."""

    artifact_uid = peewee.TextField()
    download_id = peewee.TextField()
    day = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("artifact_uid", "download_id")
        without_rowid = True
        indexes = ((("day",), False),)


class CallDay(Table):
    """How often a method ended with a code on one day, and how long it took (core/call_figures.py)."""

    day = peewee.IntegerField()
    method = peewee.TextField()
    code = peewee.TextField()
    count = peewee.IntegerField()
    seconds = peewee.FloatField()
    times = peewee.BlobField()

    class Meta:
        primary_key = peewee.CompositeKey("day", "method", "code")
        without_rowid = True


class ProblemDay(Table):
    """How often calls failed for a reason on one day."""

    day = peewee.IntegerField()
    reason = peewee.TextField()
    count = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("day", "reason")
        without_rowid = True


class ProblemLast(Table):
    """How often calls ever failed for a reason, and the last one that did."""

    reason = peewee.TextField(primary_key=True)
    total = peewee.IntegerField()
    time = peewee.FloatField()
    code = peewee.TextField()
    method = peewee.TextField()
    target = peewee.TextField()
    principal = peewee.TextField()
    message = peewee.TextField()
    call_id = peewee.TextField()


# --- approvals ----------------------------------------------------------------------------------------


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


# --- audit --------------------------------------------------------------------------------------------


class AuditEntry(Table):
    """An entry of the audit log; only ever added. `time` is in microseconds, hashes are blake3:<hex>."""

    number = peewee.IntegerField(primary_key=True)
    time = peewee.IntegerField()
    action = peewee.TextField()
    method = peewee.TextField()
    target = peewee.TextField()
    principal = peewee.TextField()
    user = peewee.TextField()
    token = peewee.TextField()
    declared_user = peewee.TextField()
    address = peewee.TextField()
    client = peewee.TextField()
    call_id = peewee.TextField()
    code = peewee.TextField()
    facts = peewee.TextField()  # JSON
    previous = peewee.TextField()
    hash = peewee.TextField()

    class Meta:
        indexes = (
            (("principal", "number"), False),
            (("target", "number"), False),
            (("action", "number"), False),
        )


# --- transfer -----------------------------------------------------------------------------------------------


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


# --- exports ------------------------------------------------------------------------------------------------


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


# --- registered sources -------------------------------------------------------------------------------------


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


def all_tables() -> list[type[Table]]:
    """Return every table that is declared under `Table`, in the order of declaration."""
    found: list[type[Table]] = []
    waiting = Table.__subclasses__()
    while waiting:
        table = waiting.pop(0)
        found.append(table)
        waiting.extend(table.__subclasses__())
    return found
