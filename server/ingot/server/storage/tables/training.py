"""Tables of work: training jobs, checkpoints, event logs, workers and operations."""

import peewee

from ingot.server.storage.tables.base import Table


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
