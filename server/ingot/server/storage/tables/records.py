"""Tables of what was done: calls, counters of use, problems and the audit log."""

import peewee

from ingot.server.storage.tables.base import Table


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
    first_principal = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])

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


class AuditEntry(Table):
    """An entry of the audit log; only ever added. `time` is in microseconds, hashes are blake3:<hex>.

    `root` and `place` are the first two and four parts of the target: what it lies below.
    """

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
    root = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])
    place = peewee.TextField(default="", constraints=[peewee.SQL("DEFAULT ''")])

    class Meta:
        indexes = (
            (("principal", "number"), False),
            (("root", "number"), False),
            (("place", "number"), False),
            (("action", "number"), False),
        )
