"""The parts of the catalog and of access, wired for app.py.

They stand between training, whose claims decide what workers may read, and transfers, which make versions:

    parts = CatalogParts(shelves.assignments, shelves.jobs, counters, requests, tokens, clock, …)
    parts.serve(hops, reader, usage, folders, registrations, grpc_server)
"""

from functools import partial

import grpc

from ingot.server.core.catalog_stores import AssignmentStore, CounterStore, DependantStore
from ingot.server.core.clock import Clock
from ingot.server.core.pages import PageTokens
from ingot.server.core.stores import PackStore
from ingot.server.core.training_stores import CheckpointStore, TrainingStore
from ingot.server.core.transfer_stores import UploadStore
from ingot.server.domain.access import Access
from ingot.server.domain.aliases import Aliases, LatestHistory
from ingot.server.domain.approvals import Approvals, ApprovalStores
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_search import TOPIC, CatalogSearch
from ingot.server.domain.contents import Contents
from ingot.server.domain.downloads import Downloads
from ingot.server.domain.events import EventLog
from ingot.server.domain.evidence import EvidenceGathering
from ingot.server.domain.grants import Grants, GrantStores
from ingot.server.domain.lineage import Lineages
from ingot.server.domain.operation_tokens import Fence
from ingot.server.domain.operations import Operations
from ingot.server.domain.publishing import VALIDATE, Publishing
from ingot.server.domain.registrations import Registrations
from ingot.server.domain.requests import Requests
from ingot.server.domain.running_imports import RunningImports
from ingot.server.domain.trash import Trash, TrashStores
from ingot.server.domain.trash_listing import TrashListing
from ingot.server.domain.usage import Usage
from ingot.server.domain.usage_reports import UsageReports
from ingot.server.domain.validations import Validations
from ingot.server.domain.version_changes import VersionChanges
from ingot.server.domain.versions import Versions
from ingot.server.rpc.artifacts_watching import ArtifactWatcher
from ingot.server.rpc.catalog import CatalogServicer
from ingot.server.rpc.catalog_rules import CatalogRules, LocalFolders
from ingot.server.rpc.content_reading import Reader
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.aliases_sql import AliasesSql
from ingot.server.storage.approvals_sql import ApprovalsSql
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.comparing_sql import ComparingSql
from ingot.server.storage.facts_sql import FactsSql
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.identity_sql import UsersSql
from ingot.server.storage.lineage_sql import LineageSql
from ingot.server.storage.members_sql import MembersSql
from ingot.server.storage.operations_sql import OperationsSql
from ingot.server.storage.registrations_sql import RegistrationsSql
from ingot.server.storage.trees_sql import TreesSql
from ingot.server.storage.usage_sql import UsageSql
from ingot.server.storage.versions_sql import VersionsSql
from ingot.v1 import catalog_pb2_grpc


class CatalogParts:
    """Access, the rules of the catalog, and their servicer."""

    def __init__(
        self,
        assignments: AssignmentStore,
        dependants: DependantStore,
        counters: CounterStore,
        requests: Requests,
        tokens: PageTokens,
        clock: Clock,
        operations: Operations,
        uploads: UploadStore,
        *,
        validation_required: bool,
        approval_evidence: tuple[str, ...],
    ) -> None:
        self.operations, self._tokens, self._clock = operations, tokens, clock
        versions, aliases = VersionsSql(), AliasesSql()
        self.artifacts = ArtifactsSql()
        grants = GrantStores(GrantsSql(), MembersSql(), UsersSql())
        self.access = Access(UsersSql(), assignments, Fence(OperationsSql()), grants.grants)
        self.catalog = Catalog(
            self.artifacts, versions, dependants, counters, requests, self.access, tokens, clock
        )
        self.catalog.follow(LatestHistory(aliases))
        self.publishing = Publishing(
            self.catalog,
            versions,
            aliases,
            uploads,
            TreesSql(),
            operations,
            FactsSql(),
            clock,
            required=validation_required,
        )
        operations.on(VALIDATE, self.publishing)
        self.versions = Versions(
            self.catalog,
            self.artifacts,
            versions,
            aliases,
            self.publishing,
            self.access,
            tokens,
            RegistrationsSql(),
        )
        self.validations = Validations(
            self.catalog, self.versions, self.publishing, operations, self.access, requests
        )
        self.trash = self._trash(versions, aliases, dependants, requests, clock)
        self.changes = VersionChanges(
            self.catalog, self.versions, versions, TreesSql(), ComparingSql(), requests, tokens, clock
        )
        self.grants = Grants(self.catalog, grants, self.access, requests, clock)
        self.aliases = Aliases(
            self.catalog, self.versions, aliases, versions, requests, tokens, self.access, clock
        )
        self.approvals = self._approvals(versions, requests, tokens, clock, approval_evidence)
        self.search = CatalogSearch(self.artifacts, self.catalog, self.access)
        self.usage_reports = UsageReports(UsageSql(), self.catalog, UsersSql(), clock)

    def _trash(
        self,
        versions: VersionsSql,
        aliases: AliasesSql,
        dependants: DependantStore,
        requests: Requests,
        clock: Clock,
    ) -> Trash:
        """Return the rules about what was deleted."""
        stores = TrashStores(
            self.artifacts, versions, aliases, TreesSql(), dependants, OperationsSql(), ApprovalsSql()
        )
        return Trash(self.catalog, stores, self.access, self.operations, requests, clock)

    def _approvals(
        self,
        versions: VersionsSql,
        requests: Requests,
        tokens: PageTokens,
        clock: Clock,
        evidence: tuple[str, ...],
    ) -> Approvals:
        """Return the rules of approvals, who hear of what goes away."""
        approvals = Approvals(
            ApprovalStores(ApprovalsSql(), self.artifacts, versions),
            self.catalog,
            self.versions,
            self.access,
            EvidenceGathering(self.operations, self.catalog, evidence),
            requests,
            tokens,
            clock,
        )
        self.catalog.follow(approvals)
        self.catalog.named_by(self.aliases.names_of)
        self.catalog.named_by(approvals.waiting_for)
        self.catalog.under(AccountsSql().approval, AliasesSql())
        self.publishing.tell_gone(approvals.version_gone)
        self.trash.tell_gone(approvals.version_gone)
        return approvals

    def reader(self, hops: Hops, downloads: Downloads, packs: PackStore, clock: Clock) -> Reader:
        """Return what reads files to show what is in them; transfers find their bytes."""
        contents = Contents(self.versions, downloads, TreesSql(), FactsSql())
        return Reader(hops, contents, downloads, packs, clock)

    def lineages(self, jobs: TrainingStore, checkpoints: CheckpointStore) -> Lineages:
        """Return the rules about lineage, which need to know of training too."""
        visible, versions = self.versions, VersionsSql()
        return Lineages(
            self.artifacts, versions, visible, jobs, checkpoints, LineageSql(), UsageSql(), self.access
        )

    def serve(
        self,
        hops: Hops,
        reader: Reader,
        usage: Usage,
        folders: LocalFolders,
        registrations: Registrations,
        lineages: Lineages,
        log: EventLog,
        tails: Tails,
        server: grpc.aio.Server,
    ) -> None:
        """Add CatalogService to a server; `tails` are those that the log announces to."""
        self.catalog.tell(partial(log.wake, TOPIC))
        rules = CatalogRules(
            self.catalog,
            self.versions,
            self.changes,
            reader,
            self.aliases,
            self.approvals,
            self.grants,
            self.trash,
            TrashListing(VersionsSql(), self.catalog, self.access, self._tokens),
            usage,
            self.usage_reports,
            folders,
            registrations,
            lineages,
            self.search,
            RunningImports(self.operations, OperationsSql()),
            ArtifactWatcher(tails, self._tokens, self._clock),
        )
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(CatalogServicer(hops, rules), server)
