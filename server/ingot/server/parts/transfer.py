"""The parts of uploads and reads, wired for app.py and for tests.

They come after the catalog and training, because an upload becomes a version or a checkpoint:

    trees = TreesSql()                                     # training lets its checkpoints go through it
    parts = TransferParts(database, packs, side, usage, tokens, clock, limits, disk)
    report = await asyncio.to_thread(parts.recovery.run)   # before anything is served
    parts.serve(hops, grpc_server, draining, fetches, tails)
    await parts.tidy(hops)                                 # now and then
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from ingot.server.core.catalog_stores import ArtifactStore, CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.data_addresses import DataAddresses
from ingot.server.core.disk_room import Watermarks
from ingot.server.core.identity import system_caller
from ingot.server.core.namespaces import Quotas
from ingot.server.core.pages import PageTokens
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import UploadStore
from ingot.server.core.upload_stats import UploadTally
from ingot.server.core.uploads import TransferLimits
from ingot.server.domain.access import Access
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.checkpoints import Checkpoints
from ingot.server.domain.chunk_intake import ChunkIntake
from ingot.server.domain.commits import Commits
from ingot.server.domain.damage import Damage
from ingot.server.domain.disk_room import DiskRoom
from ingot.server.domain.downloads import Downloads
from ingot.server.domain.events import EventLog
from ingot.server.domain.failed_uploads import FailedUploads
from ingot.server.domain.file_uploads import FileUploads
from ingot.server.domain.noted_uploads import NotedUploads
from ingot.server.domain.operations import Operations
from ingot.server.domain.publishing import Publishing
from ingot.server.domain.quotas import QuotaRules
from ingot.server.domain.recovery import Recovery
from ingot.server.domain.requests import Requests
from ingot.server.domain.upload_views import UploadViews
from ingot.server.domain.uploads import Uploads
from ingot.server.domain.usage import Usage
from ingot.server.domain.versions import Versions
from ingot.server.parts.catalog import CatalogParts
from ingot.server.rpc import bulk_messages
from ingot.server.rpc.data_doors import DataDoors, SharedShelf
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.server.rpc.transfer import Fetches, TransferServicer
from ingot.server.settings.fields import Settings
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.database import Database
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql
from ingot.server.storage.upload_tally_sql import UploadTallySql
from ingot.server.storage.uploads_sql import UploadsSql

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UploadShelves:
    """Where uploads are kept, told of and counted."""

    rows: UploadStore
    tally: UploadTally
    log: EventLog

    @classmethod
    def over(cls, log: EventLog) -> "UploadShelves":
        """Return shelves in the database whose events go into this log."""
        tally = UploadTallySql()
        return cls(NotedUploads(UploadsSql(), log, tally), tally, log)


@dataclass(frozen=True, slots=True)
class CatalogSide:
    """What transfers need of the catalog and of training."""

    catalog: Catalog
    versions: Versions
    artifacts: ArtifactStore
    checkpoints: Checkpoints
    access: Access
    requests: Requests
    counters: CounterStore
    publishing: Publishing
    operations: Operations
    uploads: UploadShelves

    @classmethod
    def of(
        cls,
        parts: CatalogParts,
        checkpoints: Checkpoints,
        requests: Requests,
        counters: CounterStore,
        uploads: UploadShelves,
    ) -> "CatalogSide":
        """Return it from the parts of a server's catalog."""
        return cls(
            parts.catalog,
            parts.versions,
            parts.artifacts,
            checkpoints,
            parts.access,
            requests,
            counters,
            parts.publishing,
            parts.operations,
            uploads,
        )


def limits_of(settings: Settings) -> TransferLimits:
    """Return the limits of transfers that the settings ask for."""
    return TransferLimits(
        max_dataset_bytes=settings.max_dataset_bytes,
        max_model_bytes=settings.max_model_bytes,
        quotas=quotas_of(settings),
        keep_failed_seconds=settings.failed_upload_hours * 3600,
        calls_per_second=settings.calls_per_second,
        call_burst=settings.call_burst,
    )


def quotas_of(settings: Settings) -> Quotas:
    """Return how much a namespace may have unless it is told otherwise."""
    return Quotas(settings.namespace_quota_bytes, settings.namespace_physical_quota_bytes)


def marks_of(settings: Settings) -> Watermarks:
    """Return how full the disk may become, as the settings say."""
    return Watermarks(
        settings.disk_warn_percent,
        settings.disk_upload_percent,
        settings.disk_stream_percent,
        settings.disk_plenty_bytes,
    )


class TransferParts:
    """The rules of transfers, and their servicer."""

    def __init__(
        self,
        database: Database,
        packs: PackStore,
        side: CatalogSide,
        usage: Usage,
        tokens: PageTokens,
        clock: Clock,
        limits: TransferLimits,
        disk: DiskRoom,
    ) -> None:
        self.packs = packs
        self.clock = clock
        self.limits = limits
        chunks, trees, rows = ChunksSql(), TreesSql(), side.uploads.rows
        quotas = self.quotas = QuotaRules(AccountsSql(), limits.quotas)
        self.uploads = Uploads(
            rows,
            trees,
            side.versions,
            side.checkpoints,
            side.requests,
            side.counters,
            tokens,
            clock,
            limits,
            disk,
            quotas,
        )
        self.views = UploadViews(self.uploads, side.uploads.tally, side.uploads.log)
        self.failed = FailedUploads(self.uploads, rows, trees, side.publishing, side.requests, clock)
        self.intake = ChunkIntake(
            self.uploads, rows, chunks, side.artifacts, side.access, clock, limits, disk, quotas
        )
        self.commits = Commits(
            self.uploads,
            rows,
            trees,
            chunks,
            side.versions,
            side.checkpoints,
            clock,
            limits,
            disk,
            quotas,
        )
        self.downloads = Downloads(
            side.versions,
            side.checkpoints,
            self.uploads,
            side.catalog,
            trees,
            chunks,
            usage,
            tokens,
            Damage(chunks, ShelfSql(), side.operations),
        )
        self.files = FileUploads(self.uploads, rows, self.failed, self.commits, self.downloads, clock)
        self.recovery = Recovery(database, packs, chunks, self.uploads, clock)
        self.data_addresses = DataAddresses()

    def serve(
        self,
        hops: Hops,
        server: grpc.aio.Server,
        draining: Callable[[], bool],
        fetches: Fetches,
        tails: Tails,
    ) -> None:
        """Add TransferService to a server; `draining` says whether that is about to stop."""
        servicer = TransferServicer(
            hops,
            self.uploads,
            self.failed,
            self.intake,
            self.commits,
            self.files,
            self.downloads,
            self.views,
            tails,
            self.packs,
            self.clock,
            self.limits,
            draining,
            fetches,
            self.data_addresses,
        )
        bulk_messages.add_servicer(servicer, server, self.limits.max_message_files)
        self._open_tree = servicer.open_tree

    def doors(self, hops: Hops, packs: SharedShelf) -> DataDoors:
        """Return what answers data processes; after `serve`."""
        return DataDoors(hops, self.intake, self.downloads, packs, self.limits, self._open_tree)

    async def tidy(self, hops: Hops) -> int:
        """Expire and forget uploads whose time is up, some in each write; return how many."""
        tidied = purged = 0
        while some := await hops.write(self.uploads.upkeep):
            tidied += some
        keep = self.limits.keep_failed_seconds
        while some := await hops.write(self.failed.purge, system_caller(), keep, all_users=True):
            purged += some
        while await hops.keep(self.failed.sweep):
            pass
        if tidied or purged:
            log.info("uploads.tidied count=%d purged=%d", tidied + purged, purged)
        return tidied + purged
