"""Usage by day and by user, of artifacts, namespaces and the whole server; calls and problems by day."""

import re

import peewee
from playhouse.migrate import SqliteMigrator

_PLACE = re.compile(r"namespaces/([^/]+)(?:/(?:models|datasets)/[^/]+)?")

_ACTIVITY = (
    "ALTER TABLE activity ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE activity ADD COLUMN artifact TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE activity ADD COLUMN namespace TEXT NOT NULL DEFAULT ''",
    "DROP INDEX activity_time",
    "CREATE INDEX activity_artifact_id ON activity(artifact, id)",
    "CREATE INDEX activity_namespace_id ON activity(namespace, id)",
    "CREATE INDEX activity_action_id ON activity(action, id)",
    "CREATE INDEX activity_principal_action_id ON activity(principal, action, id)",
    "CREATE INDEX activity_failed ON activity(id) WHERE (\"reason\" != '')",
)
_PLACES = "UPDATE activity SET artifact = place_artifact(target), namespace = place_namespace(target)"
_COUNTERS = (
    "ALTER TABLE usage_counter RENAME COLUMN artifact_uid TO subject",
    "ALTER TABLE usage_counter ADD COLUMN is_artifact INTEGER NOT NULL DEFAULT 1",
    "CREATE INDEX usage_counter_is_artifact_download_count ON usage_counter(is_artifact, download_count)",
)
_USERS = (
    "INSERT INTO usage_user SELECT artifact_uid, '', substr(key || ' ', 1, instr(key || ' ', ' ') - 1), "
    "substr(key, instr(key || ' ', ' ') + 1), '', 0, 0, 0, 0 FROM usage_seen WHERE kind = 'user'"
)
_DOWNLOADS = (
    "INSERT INTO usage_download SELECT artifact_uid, key, CAST(strftime('%s', 'now') AS INTEGER) / 86400 "
    "FROM usage_seen WHERE kind = 'download'"
)
# What was used before is known per artifact only: its sums are those of its namespace and of the server.
_SUMS = (
    "INSERT INTO usage_counter(subject, is_artifact, download_count, access_count, unique_users, "
    "first_downloaded_by, first_downloaded_from) SELECT {subject}, 0, sum(c.download_count), "
    "sum(c.access_count), 0, '', '' FROM usage_counter c JOIN artifact a ON a.uid = c.subject "
    "WHERE c.is_artifact {group}"
)
_SUM_USERS = (
    "INSERT OR IGNORE INTO usage_user SELECT {subject}, '', u.principal, u.declared_user, '', 0, 0, 0, 0 "
    "FROM usage_user u JOIN artifact a ON a.uid = u.subject"
)
_UNIQUE = (
    "UPDATE usage_counter SET unique_users = "
    "(SELECT count(*) FROM usage_user u WHERE u.subject = usage_counter.subject) WHERE NOT is_artifact"
)


class _Table(peewee.Model):
    class Meta:
        legacy_table_names = False


def up(migrator: SqliteMigrator, db: peewee.SqliteDatabase) -> None:
    """Make the tables, and fill them with what is known of the time before."""
    for statement in _ACTIVITY:
        db.execute_sql(statement)
    connection = db.connection()
    connection.create_function("place_artifact", 1, _artifact, deterministic=True)
    connection.create_function("place_namespace", 1, _namespace, deterministic=True)
    db.execute_sql(_PLACES)
    _make_usage(db)
    _make_figures(db)
    for statement in (*_COUNTERS, _USERS, _DOWNLOADS, "DROP TABLE usage_seen"):
        db.execute_sql(statement)
    db.execute_sql(_SUMS.format(subject="'namespaces/' || a.namespace", group="GROUP BY a.namespace"))
    db.execute_sql(_SUMS.format(subject="'server'", group="HAVING count(*) > 0"))
    for subject in ("'namespaces/' || a.namespace", "'server'"):
        db.execute_sql(_SUM_USERS.format(subject=subject))
    db.execute_sql(_UNIQUE)


def _make_usage(db: peewee.SqliteDatabase) -> None:
    class UsageDay(_Table):
        subject = peewee.TextField()
        day = peewee.IntegerField()
        downloads = peewee.IntegerField()
        accesses = peewee.IntegerField()

        class Meta:
            primary_key = peewee.CompositeKey("subject", "day")
            without_rowid = True
            indexes = ((("day",), False),)

    class UsageUser(_Table):
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

    class UsageDownload(_Table):
        artifact_uid = peewee.TextField()
        download_id = peewee.TextField()
        day = peewee.IntegerField()

        class Meta:
            primary_key = peewee.CompositeKey("artifact_uid", "download_id")
            without_rowid = True
            indexes = ((("day",), False),)

    with db.bind_ctx([UsageDay, UsageUser, UsageDownload]):
        db.create_tables([UsageDay, UsageUser, UsageDownload])


def _make_figures(db: peewee.SqliteDatabase) -> None:
    class CallDay(_Table):
        day = peewee.IntegerField()
        method = peewee.TextField()
        code = peewee.TextField()
        count = peewee.IntegerField()
        seconds = peewee.FloatField()
        times = peewee.BlobField()

        class Meta:
            primary_key = peewee.CompositeKey("day", "method", "code")
            without_rowid = True

    class ProblemDay(_Table):
        day = peewee.IntegerField()
        reason = peewee.TextField()
        count = peewee.IntegerField()

        class Meta:
            primary_key = peewee.CompositeKey("day", "reason")
            without_rowid = True

    class ProblemLast(_Table):
        reason = peewee.TextField(primary_key=True)
        total = peewee.IntegerField()
        time = peewee.FloatField()
        code = peewee.TextField()
        method = peewee.TextField()
        target = peewee.TextField()
        principal = peewee.TextField()
        message = peewee.TextField()
        call_id = peewee.TextField()

    with db.bind_ctx([CallDay, ProblemDay, ProblemLast]):
        db.create_tables([CallDay, ProblemDay, ProblemLast])


def _artifact(target: str) -> str:
    found = _PLACE.match(target)
    return found[0].lower() if found and found[0].count("/") > 1 else ""


def _namespace(target: str) -> str:
    found = _PLACE.match(target)
    return found[1] if found else ""
