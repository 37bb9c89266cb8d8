"""The catalog over a real database, with a clock that stands still and claims of workers that tests choose.

    rig = CatalogRig()                                 # in memory
    rig.user("sara")                                   # a caller with a namespace
    rig.create(sara, "chat", Kind.DATASET, tags=("fa",))
    rig.commit(sara, "namespaces/sara/models/tiny")    # a version of it
    rig.read(rig.catalog.page, sara, ArtifactListing())

Everything is the server's own but two seams: the clock, and what training tells (`FixedWork`).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from helpers.schema import migrated
from ingot.server.core.artifacts import (
    Artifact,
    ArtifactFields,
    NewVersion,
    TreeFacts,
    Version,
    VersionOrigin,
)
from ingot.server.core.clock import Clock
from ingot.server.core.identity import SCOPES_OF_ROLE, Caller, Role, User
from ingot.server.core.names import ArtifactName, Kind, VersionName, artifact_name
from ingot.server.core.pages import PageTokens
from ingot.server.core.workers import WorkGrant
from ingot.server.domain.access import Access
from ingot.server.domain.aliases import Aliases, LatestHistory
from ingot.server.domain.approvals import Approvals, ApprovalStores
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_asked import NewArtifact
from ingot.server.domain.events import EventLog
from ingot.server.domain.evidence import EvidenceGathering
from ingot.server.domain.identity import Identity
from ingot.server.domain.operation_tokens import Fence
from ingot.server.domain.publishing import VALIDATE, Publishing
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.validations import Validations
from ingot.server.domain.versions import Versions
from ingot.server.parts.operations import OperationParts
from ingot.server.parts.training import TrainingRules, TrainingShelves
from ingot.server.parts.transfer import CatalogSide, UploadShelves
from ingot.server.rpc.tails import Tails
from ingot.server.settings.fields import Settings
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.aliases_sql import AliasesSql
from ingot.server.storage.approvals_sql import ApprovalsSql
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.events_sql import EventsSql
from ingot.server.storage.facts_sql import FactsSql
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.identity_sql import CountersSql, RequestsSql, TokensSql, UsersSql
from ingot.server.storage.operations_sql import OperationsSql
from ingot.server.storage.registrations_sql import RegistrationsSql
from ingot.server.storage.trees_sql import TreesSql
from ingot.server.storage.versions_sql import VersionsSql

P = ParamSpec("P")
T = TypeVar("T")

START = 1_800_000_000.0
NO_KEY = RequestKey()


class StandingClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class FixedWork:
    """What workers hold, and who needs an artifact, as a test says."""

    def __init__(self) -> None:
        self.grants: dict[str, list[WorkGrant]] = {}
        self.needed_by: dict[str, list[str]] = {}

    def held_by(self, principal: str) -> Sequence[WorkGrant]:
        return self.grants.get(principal, [])

    def dependants(self, artifact: ArtifactName) -> Sequence[str]:
        return self.needed_by.get(str(artifact), [])

    def reading(self, version: VersionName) -> Sequence[str]:
        return self.needed_by.get(str(version), [])


class CatalogRules:
    """The rules of identity and catalog over one database, wired as the server wires them."""

    def __init__(
        self, database: Database, clock: Clock, tokens: PageTokens, *, validation_required: bool = False
    ) -> None:
        self.work = FixedWork()
        self.users, self.counters = UsersSql(), CountersSql()
        self.artifacts, self.version_rows, self.alias_rows = ArtifactsSql(), VersionsSql(), AliasesSql()
        self.tails = Tails()
        log = EventLog(EventsSql(), database.after_commit, self.tails, clock, 1000)
        self.uploads = UploadShelves.over(log)
        self.operations = OperationParts(
            Settings(), log, self.counters, database.after_commit, tokens, b"the secret of a folder", clock
        )
        self.requests = Requests(RequestsSql(), clock)
        self.access = Access(self.users, self.work, Fence(OperationsSql()), GrantsSql())
        self.identity = Identity(
            self.users, TokensSql(), self.counters, self.requests, tokens, clock, database.after_commit
        )
        self.catalog = Catalog(
            self.artifacts,
            self.version_rows,
            self.work,
            self.counters,
            self.requests,
            self.access,
            tokens,
            clock,
        )
        self.catalog.follow(LatestHistory(self.alias_rows))
        self.publishing = Publishing(
            self.catalog,
            self.version_rows,
            self.alias_rows,
            self.uploads.rows,
            TreesSql(),
            self.operations.operations,
            FactsSql(),
            clock,
            required=validation_required,
        )
        self.operations.operations.on(VALIDATE, self.publishing)
        self.versions = Versions(
            self.catalog,
            self.artifacts,
            self.version_rows,
            self.alias_rows,
            self.publishing,
            self.access,
            tokens,
            RegistrationsSql(),
        )
        self.validations = Validations(
            self.catalog,
            self.versions,
            self.publishing,
            self.operations.operations,
            self.access,
            self.requests,
        )
        self.aliases = Aliases(
            self.catalog,
            self.versions,
            self.alias_rows,
            self.version_rows,
            self.requests,
            tokens,
            self.access,
            clock,
        )
        self.approvals = Approvals(
            ApprovalStores(ApprovalsSql(), self.artifacts, self.version_rows),
            self.catalog,
            self.versions,
            self.access,
            EvidenceGathering(self.operations.operations, self.catalog, ("license",)),
            self.requests,
            tokens,
            clock,
        )
        self.catalog.follow(self.approvals)
        self.catalog.under(AccountsSql().approval, self.alias_rows)
        self.publishing.tell_gone(self.approvals.version_gone)


class CatalogRig(CatalogRules):
    """The same over a database of its own, with shorthands."""

    def __init__(self, url: str = "sqlite:///:memory:", *, validation_required: bool = False) -> None:
        self.database = open_database(url)
        migrated(self.database)
        self.clock = StandingClock()
        super().__init__(
            self.database, self.clock, PageTokens(b"secret"), validation_required=validation_required
        )

    def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.database.read(fn, *args, **kwargs)

    def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.database.write(fn, *args, **kwargs).result()

    def user(self, name: str = "sara", role: Role = Role.MEMBER) -> Caller:
        """Make a user; return its caller."""
        self.write(add_user, self.users, name, role)
        return person(name, role)

    def create(self, caller: Caller, artifact_id: str, kind: Kind = Kind.MODEL, **fields: object) -> Artifact:
        """Make an artifact in the caller's namespace."""
        said = dataclasses.replace(ArtifactFields(), **fields)  # type: ignore[arg-type]  # as the test says
        wanted = NewArtifact(caller.namespace, kind, artifact_id, said)
        return self.write(self.catalog.create, caller, wanted, NO_KEY, validate_only=False)

    def commit(
        self,
        caller: Caller,
        artifact: str,
        *,
        origin: VersionOrigin | None = None,
        size: int = 100,
        **target: object,
    ) -> Version:
        """Commit a version of an artifact, which is made when missing."""
        new = NewVersion(artifact_name(artifact), create=ArtifactFields())
        new = dataclasses.replace(new, **target)  # type: ignore[arg-type]  # as the test says
        tree = TreeFacts(b"\7" * 32, 2, size, size // 2, "safetensors")
        came_from = origin or VersionOrigin(upload="uploads/file_1")
        return self.write(self.versions.commit, caller, new, tree, came_from, self.clock.now())


def person(user: str, role: Role = Role.MEMBER) -> Caller:
    """Return a caller with a namespace of its own."""
    own = frozenset({user})
    return Caller(
        principal=f"users/{user}",
        user=user,
        role=role,
        scopes=SCOPES_OF_ROLE[role],
        token=f"users/{user}/tokens/tok_1",
        namespace=user,
        writes=frozenset() if role is Role.VIEWER else own,
        reads=own,
    )


def machine(token: str = "tok_9") -> Caller:
    """Return the caller of a worker's token."""
    name = f"users/admin/tokens/{token}"
    worker = person("admin", Role.WORKER)
    return dataclasses.replace(worker, principal=name, token=name, writes=frozenset(), reads=frozenset())


def add_user(users: UsersSql, name: str, role: Role = Role.MEMBER) -> None:
    """Store a user and the namespace of the same id; for use inside a write."""
    users.add(User(name, f"uid-{name}", name.title(), role, START))


def catalog_side(rules: CatalogRules, database: Database, clock: Clock, tokens: PageTokens) -> CatalogSide:
    """Return what transfers need of catalog and training, with a user for each role (see pipelines.py)."""
    for role in Role:
        database.write(add_user, rules.users, role.value.lower(), role).result()
    shelves = TrainingShelves(Settings(), database.after_commit, rules.counters, clock)
    training = TrainingRules(shelves, rules.access, rules.versions, TreesSql(), rules.requests, tokens)
    return CatalogSide(
        rules.catalog,
        rules.versions,
        rules.artifacts,
        training.checkpoints,
        rules.access,
        rules.requests,
        rules.counters,
        rules.publishing,
        rules.operations.operations,
        rules.uploads,
    )
