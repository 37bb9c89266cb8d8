"""Operations that wait in queues and are claimed, and the times of periodic ones."""

import peewee
from playhouse.migrate import SqliteMigrator

_KEEP = "CREATE TEMP TABLE operation_before AS SELECT * FROM operation"
# Until now all operations were records of upkeep, tried once: the next start ends what never ended.
_COPY = """
    INSERT INTO operation(number, kind, state, phase, requester, queue, target, live_key, priority, due,
                          attempt, runner, lease, finished, change, revision, document)
    SELECT number, kind, state,
           CASE WHEN state IN ('RUNNING', 'CANCELLING') THEN 'claimed'
                WHEN state IN ('QUEUED', 'RETRYING') THEN 'waiting'
                ELSE 'ended' END,
           requester, 'maintenance', json_extract(document, '$.target'), NULL, 0, 0.0,
           json_extract(document, '$.attempt'), '', NULL, finished, number, revision,
           json_set(json_remove(document, '$.target', '$.queue', '$.attempt'),
                    '$.tries', 1, '$.policy', json('{"max_attempts": 1}'))
    FROM operation_before
"""
_COUNT = "INSERT INTO counter(word, value) SELECT 'change', MAX(number) FROM operation HAVING COUNT(*) > 0"


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the table anew with what was in it, and the schedule."""

    class Operation(peewee.Model):
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

        class Meta:
            database = db
            legacy_table_names = False
            indexes = (
                (("kind", "number"), False),
                (("state", "number"), False),
                (("requester", "number"), False),
                (("requester", "change"), False),
                (("queue", "number"), False),
                (("target", "number"), False),
                (("phase", "due"), False),
            )

    Operation.add_index(
        Operation.index(
            Operation.phase,
            Operation.queue,
            Operation.priority.desc(),
            Operation.due,
            name="operation_claim",
        )
    )

    class Schedule(peewee.Model):
        kind = peewee.TextField(primary_key=True)
        due = peewee.FloatField()

        class Meta:
            database = db
            legacy_table_names = False

    db.execute_sql(_KEEP)
    db.execute_sql("DROP TABLE operation")
    db.create_tables([Operation, Schedule])
    db.execute_sql(_COPY)
    db.execute_sql(_COUNT)
    db.execute_sql("DROP TABLE operation_before")
