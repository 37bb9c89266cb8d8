"""All tables of the database, one class each, grouped by feature in the order of the migrations.

How to add one (say, to keep notes):

1. In the module of its feature, and named below: a plain Peewee model under `Table`. It is bound to no
   database. Rows belong to whichever database the running unit of work is in (unit_of_work.py), so stores
   hold no connection and tests may run several servers in one process. Use TextField, IntegerField (also
   for booleans that are queried), FloatField (epoch seconds), BlobField (32-byte digests), JSONField; name
   keys after what they hold; declare indexes.

       class Note(Table):
           name = peewee.TextField(unique=True)
           text = peewee.TextField(default="")
           created = peewee.FloatField()

2. ``migrations/NNNN_<feature>.py``: the same declaration, frozen. tests/storage/test_schema.py compares every
   table of this package with a freshly migrated database, down to types, defaults and indexes.

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

from ingot.server.storage.tables.base import Table as Table
from ingot.server.storage.tables.catalog import (
    AccessGrant as AccessGrant,
)
from ingot.server.storage.tables.catalog import (
    Alias as Alias,
)
from ingot.server.storage.tables.catalog import (
    AliasMove as AliasMove,
)
from ingot.server.storage.tables.catalog import (
    Approval as Approval,
)
from ingot.server.storage.tables.catalog import (
    Artifact as Artifact,
)
from ingot.server.storage.tables.catalog import (
    ArtifactBlock as ArtifactBlock,
)
from ingot.server.storage.tables.catalog import (
    ArtifactCount as ArtifactCount,
)
from ingot.server.storage.tables.catalog import (
    ArtifactMarks as ArtifactMarks,
)
from ingot.server.storage.tables.catalog import (
    ArtifactTotal as ArtifactTotal,
)
from ingot.server.storage.tables.catalog import (
    ArtifactValue as ArtifactValue,
)
from ingot.server.storage.tables.catalog import (
    FactsWanted as FactsWanted,
)
from ingot.server.storage.tables.catalog import (
    KeptExport as KeptExport,
)
from ingot.server.storage.tables.catalog import (
    Registration as Registration,
)
from ingot.server.storage.tables.catalog import (
    SpentVersion as SpentVersion,
)
from ingot.server.storage.tables.catalog import (
    Version as Version,
)
from ingot.server.storage.tables.identity import (
    Account as Account,
)
from ingot.server.storage.tables.identity import (
    ApiToken as ApiToken,
)
from ingot.server.storage.tables.identity import (
    Counter as Counter,
)
from ingot.server.storage.tables.identity import (
    Credential as Credential,
)
from ingot.server.storage.tables.identity import (
    Login as Login,
)
from ingot.server.storage.tables.identity import (
    Member as Member,
)
from ingot.server.storage.tables.identity import (
    Namespace as Namespace,
)
from ingot.server.storage.tables.identity import (
    Password as Password,
)
from ingot.server.storage.tables.identity import (
    Request as Request,
)
from ingot.server.storage.tables.identity import (
    User as User,
)
from ingot.server.storage.tables.records import (
    ActivityRow as ActivityRow,
)
from ingot.server.storage.tables.records import (
    AuditEntry as AuditEntry,
)
from ingot.server.storage.tables.records import (
    CallDay as CallDay,
)
from ingot.server.storage.tables.records import (
    ProblemDay as ProblemDay,
)
from ingot.server.storage.tables.records import (
    ProblemLast as ProblemLast,
)
from ingot.server.storage.tables.records import (
    UsageCounter as UsageCounter,
)
from ingot.server.storage.tables.records import (
    UsageDay as UsageDay,
)
from ingot.server.storage.tables.records import (
    UsageDownload as UsageDownload,
)
from ingot.server.storage.tables.records import (
    UsageUser as UsageUser,
)
from ingot.server.storage.tables.training import (
    Checkpoint as Checkpoint,
)
from ingot.server.storage.tables.training import (
    Event as Event,
)
from ingot.server.storage.tables.training import (
    EventLog as EventLog,
)
from ingot.server.storage.tables.training import (
    JobInput as JobInput,
)
from ingot.server.storage.tables.training import (
    MetricPoint as MetricPoint,
)
from ingot.server.storage.tables.training import (
    Operation as Operation,
)
from ingot.server.storage.tables.training import (
    Schedule as Schedule,
)
from ingot.server.storage.tables.training import (
    TrainingJob as TrainingJob,
)
from ingot.server.storage.tables.training import (
    Worker as Worker,
)
from ingot.server.storage.tables.transfer import (
    Chunk as Chunk,
)
from ingot.server.storage.tables.transfer import (
    Hold as Hold,
)
from ingot.server.storage.tables.transfer import (
    Pack as Pack,
)
from ingot.server.storage.tables.transfer import (
    Segment as Segment,
)
from ingot.server.storage.tables.transfer import (
    Tree as Tree,
)
from ingot.server.storage.tables.transfer import (
    TreeFile as TreeFile,
)
from ingot.server.storage.tables.transfer import (
    Upload as Upload,
)
from ingot.server.storage.tables.transfer import (
    UploadTally as UploadTally,
)


def all_tables() -> list[type[Table]]:
    """Return every table that is declared under `Table`, in the order of declaration."""
    found: list[type[Table]] = []
    waiting = Table.__subclasses__()
    while waiting:
        table = waiting.pop(0)
        found.append(table)
        waiting.extend(table.__subclasses__())
    return found
