"""Training: jobs, checkpoints, event logs with their series, workers, operations."""

import peewee
from playhouse.migrate import SqliteMigrator


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables."""
    db.create_tables([*_jobs(db), *_logs(db), *_work(db)])


def _jobs(db: peewee.SqliteDatabase) -> list[type[peewee.Model]]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class TrainingJob(Table):
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

    class Checkpoint(Table):
        job = peewee.IntegerField()
        step = peewee.IntegerField()
        epoch = peewee.FloatField()
        kind = peewee.TextField()
        attempt = peewee.IntegerField()
        world_size = peewee.IntegerField()
        metrics = peewee.TextField()
        tree = peewee.IntegerField()
        digest = peewee.BlobField()
        size_bytes = peewee.IntegerField()
        file_count = peewee.IntegerField()
        created = peewee.FloatField()

        class Meta:
            primary_key = peewee.CompositeKey("job", "step")
            without_rowid = True

    return [TrainingJob, Checkpoint]


def _logs(db: peewee.SqliteDatabase) -> list[type[peewee.Model]]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class EventLog(Table):
        id = peewee.AutoField()
        subject = peewee.TextField(unique=True)
        oldest = peewee.IntegerField(default=1)
        latest = peewee.IntegerField(default=0)

    class Event(Table):
        log = peewee.IntegerField()
        seq = peewee.IntegerField()
        time = peewee.FloatField()
        attempt = peewee.IntegerField()
        producer_seq = peewee.IntegerField(null=True)
        kind = peewee.TextField()
        level = peewee.IntegerField(null=True)
        rank = peewee.IntegerField(null=True)
        body = peewee.TextField()

        class Meta:
            primary_key = peewee.CompositeKey("log", "seq")
            without_rowid = True
            indexes = (
                (("log", "attempt", "producer_seq"), True),
                (("log", "kind", "seq"), False),
            )

    class MetricPoint(Table):
        log = peewee.IntegerField()
        series = peewee.TextField()
        step = peewee.IntegerField()
        value = peewee.FloatField(null=True)
        time = peewee.FloatField()

        class Meta:
            primary_key = peewee.CompositeKey("log", "series", "step")
            without_rowid = True

    return [EventLog, Event, MetricPoint]


def _work(db: peewee.SqliteDatabase) -> list[type[peewee.Model]]:
    class Table(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Worker(Table):
        number = peewee.IntegerField(primary_key=True)
        token = peewee.TextField()
        display_name = peewee.TextField()
        facts = peewee.TextField()
        address = peewee.TextField()
        created = peewee.FloatField()
        heard = peewee.FloatField(index=True)

        class Meta:
            indexes = ((("token", "display_name"), True),)

    class Operation(Table):
        number = peewee.IntegerField(primary_key=True)
        kind = peewee.TextField()
        state = peewee.TextField()
        requester = peewee.TextField()
        finished = peewee.FloatField(null=True, index=True)
        revision = peewee.IntegerField()
        document = peewee.TextField()

        class Meta:
            indexes = (
                (("kind", "number"), False),
                (("state", "number"), False),
                (("requester", "number"), False),
            )

    return [Worker, Operation]
