"""The composition root: from settings to a running server. Only here is known who stands behind an interface.

    folder = DataFolder.hold(settings.data_dir)
    async with app.running(settings, folder) as server:
        ...                                   # it serves on server.addresses
                                              # leaving drains, writes what is gathered and closes

Read `App` from top to bottom: each section uses only what stands above it. A new feature adds its stores to
`_shelves`, its rules to `_rules`, its servicer to `_doors` and what runs by itself to `_bodies`.
"""

import asyncio
import contextlib
import functools
import importlib.metadata
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from ingot.server.core.clock import Clock, SystemClock
from ingot.server.core.complaints import Complaints
from ingot.server.core.errors import IngotError
from ingot.server.core.pages import PageTokens
from ingot.server.data_processes import DataProcesses
from ingot.server.domain.disk_room import DiskRoom
from ingot.server.domain.health import Health
from ingot.server.domain.requests import Requests
from ingot.server.domain.upkeep_starts import UpkeepStarts
from ingot.server.parts.audit import AuditParts
from ingot.server.parts.catalog import CatalogParts
from ingot.server.parts.cleaning import Cleaning
from ingot.server.parts.exports import ExportParts, bundle_key
from ingot.server.parts.identity import IdentityParts, tls_of
from ingot.server.parts.imports import ImportParts
from ingot.server.parts.operations import OperationParts, settings_of_bodies
from ingot.server.parts.registration import RegistrationParts
from ingot.server.parts.training import TrainingRules, TrainingShelves
from ingot.server.parts.transfer import (
    CatalogSide,
    TransferParts,
    UploadShelves,
    limits_of,
    marks_of,
)
from ingot.server.parts.upkeep import UpkeepParts
from ingot.server.parts.usage import MEASURE_SECONDS, UsageParts
from ingot.server.rpc.call_rates import Allowance, CallRates
from ingot.server.rpc.credentials import Credentials
from ingot.server.rpc.operations import Starts
from ingot.server.rpc.pipeline import Pipeline
from ingot.server.rpc.server import GrpcServer
from ingot.server.rpc.system import ServerFacts, SystemServicer
from ingot.server.runner.bodies import BodyMeans
from ingot.server.settings import showing
from ingot.server.settings.fields import Settings
from ingot.server.storage import ballast
from ingot.server.storage.data_folder import DataFolder
from ingot.server.storage.database import only_server, open_database
from ingot.server.storage.disk_space import FolderDisk
from ingot.server.storage.identity_sql import CountersSql, RequestsSql
from ingot.server.storage.migration_runner import migrate
from ingot.server.storage.pack_keys import keyring
from ingot.server.storage.packs_disk import DiskPacks
from ingot.server.storage.trees_sql import TreesSql
from ingot.server.storage.vitals import SqliteVitals
from ingot.server.worker_process import WorkerProcess
from ingot.v1 import system_pb2_grpc

log = logging.getLogger(__name__)

_USAGE_SECONDS = 1.0
_TOKEN_USE_SECONDS = 30.0
_HEAD_SECONDS = 5.0  # what is cut off the audit log is noticed up to the head before
_FACTS_SECONDS = 1.0  # how soon a new version shows the facts in its files
_REAP_SECONDS = 1.0  # how soon a lease that ran out is noticed
ADMIN = "admin"
WORKER = "worker"


class App:
    """All parts of one server, wired. Made by `running`."""

    def __init__(
        self, settings: Settings, folder: DataFolder, clock: Clock, origins: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self._origins = origins
        self.folder = folder
        self.addresses: tuple[str, ...] = ()
        self.unix_socket = folder.socket_path()
        self.tls = tls_of(settings)
        self._periodic: list[asyncio.Task[None]] = []
        self._complaints = Complaints(log)
        self._clock = clock
        self._shelves()
        self._rules()
        self._doors()
        self._bodies()

    def _shelves(self) -> None:
        self.database = open_database(self.settings.database)
        migrate(self.database)
        keys = keyring(self.settings.encryption_key_file, self.folder.path)
        self._key = keys.active.hex() if keys else ""
        self._packs = DiskPacks(self.folder.path, keys)
        self._counters = CountersSql()
        self._training_shelves = TrainingShelves(
            self.settings, self.database.after_commit, self._counters, self._clock
        )

    def _rules(self) -> None:
        settings, folder, clock, counters = self.settings, self.folder, self._clock, self._counters
        training_shelves = self._training_shelves
        tokens = PageTokens(folder.secret)
        requests = self._requests = Requests(RequestsSql(), clock)
        self.operations = OperationParts(
            settings, training_shelves.log, counters, self.database.after_commit, tokens, folder.secret, clock
        )
        self.people = IdentityParts(
            settings, folder, counters, requests, tokens, clock, self.database.after_commit
        )
        self.identity = self.people.identity
        self.used = UsageParts(settings, tokens, clock, folder.server_id, version())
        self.usage = self.used.usage
        self.audit = AuditParts(settings, folder, self.database, self.usage, tokens, clock)
        uploads = UploadShelves.over(training_shelves.log)
        catalog = self.catalog = CatalogParts(
            training_shelves.assignments,
            training_shelves.jobs,
            counters,
            requests,
            tokens,
            clock,
            self.operations.operations,
            uploads.rows,
            validation_required=settings.validation == "required",
            approval_evidence=settings.approval_evidence,
        )
        self.training = TrainingRules(
            training_shelves, catalog.access, catalog.versions, TreesSql(), requests, tokens
        )
        self._disk = DiskRoom(FolderDisk(folder.path), marks_of(settings))
        side = CatalogSide.of(catalog, self.training.checkpoints, requests, counters, uploads)
        self.transfer = TransferParts(
            self.database, self._packs, side, self.usage, tokens, clock, limits_of(settings), self._disk
        )
        self.exports = ExportParts(
            settings,
            catalog,
            self.operations.operations,
            requests,
            training_shelves.jobs,
            self.people.credentials,
            bundle_key(folder.path),
            clock,
        )
        self.registered = RegistrationParts(
            settings, catalog, self.operations.operations, self.exports.import_folders, clock
        )
        self.imports = ImportParts(
            settings,
            catalog,
            self.operations.operations,
            self.exports.import_folders,
            self.registered.registrations,
            requests,
        )

    def _doors(self) -> None:
        settings, folder, clock = self.settings, self.folder, self._clock
        vitals, told = SqliteVitals(self.database, folder.path), self.transfer.data_addresses
        health = Health(vitals, self._disk, self.tls, self.audit.heads, told)
        self.hops = self.used.hops(self.database, self.audit.journaling)
        self.pipeline = Pipeline(
            Credentials(self.hops, self.people.sign_in, clock),
            self.usage.record,
            clock,
            unary_seconds=settings.call_seconds,
            rates=CallRates(
                Allowance(settings.calls_per_second, settings.call_burst),
                Allowance(settings.public_calls_per_second, settings.public_call_burst),
            ),
            ended=self.audit.journaling.ended,
            watchers=self.used.watchers,
        )
        self.grpc = GrpcServer(self.pipeline, health=settings.health, reflection=settings.reflection)
        self.facts = ServerFacts(
            version(), folder.server_id, folder.path, clock.now(), bundle_key(folder.path)
        )
        server = self.grpc.server
        self.people.serve(self.hops, server)
        self.reader = self.catalog.reader(self.hops, self.transfer.downloads, self._packs, clock)
        self.catalog.serve(
            self.hops,
            self.reader,
            self.usage,
            self.exports.exports,
            self.registered.registrations,
            self.catalog.lineages(self._training_shelves.jobs, self._training_shelves.checkpoints),
            self._training_shelves.log,
            self._training_shelves.tails,
            server,
        )
        seen = self.used.rules(
            self.catalog,
            self.training.workers,
            folder.path,
            showing.shown(settings, self._origins),
        )
        system = SystemServicer(self.hops, self.facts, health, self.usage, self.audit.rules, seen, clock)
        system_pb2_grpc.add_SystemServiceServicer_to_server(system, server)
        self.training.serve(self.hops, server)
        starts = Starts(
            self.imports.imports,
            self.catalog.validations,
            self.exports.exports,
            UpkeepStarts(self.operations.operations, self._requests),
        )
        self.operations.serve(self.hops, server, starts, self._training_shelves.tails)
        registered, tails = self.registered.registrations, self._training_shelves.tails
        self.transfer.serve(self.hops, server, lambda: self.pipeline.draining, registered, tails)
        moving = self.transfer.data_addresses
        self.data = DataProcesses(settings, folder, self.hops, self._packs, moving, self._key)

    def _bodies(self) -> None:
        means = BodyMeans(
            f"unix:{self.unix_socket}",
            self.people.operation_tokens.make,
            self.operations.secrets.whole,
            self.people.credentials.for_operation,
            settings_of_bodies(self.settings),
            self.settings.body_memory_bytes,
        )
        self.runner = self.operations.runner(self.hops, self.folder.path, self.folder.server_id, means)
        self.registered.add_to(self.hops, self.operations.shelf)
        cleaning = Cleaning(
            self.hops,
            self.transfer,
            self.catalog,
            self.training,
            self.operations,
            self.used,
            self.runner.sweep,
            self._clock,
            self.settings.trash_days,
        )
        cleaning.add_to(self.operations.shelf)
        upkeep = UpkeepParts(
            self.hops, self.database, self._packs, self.folder.path, self.settings, self._clock
        )
        upkeep.add_to(self.operations.shelf)

    async def start(self) -> None:
        """Put right what an earlier run left, make the administrator's token if there is none, and serve."""
        # Before a token is looked at: a restored backup may have brought back what was revoked since.
        await self.audit.begin(self.hops, self.people.restoring.settle, self._key)
        await self.runner.recover(self.folder.server_id)
        await self.runner.now("recover")
        secret = await self.hops.write(self.identity.ensure_administrator, self.folder.token(ADMIN))
        if secret is not None:
            path = self.folder.keep_token(ADMIN, secret)
            log.info("identity.administrator_token_made file=%s", path)
        await self._index_again()
        # Each reader opens its own connection: all of them at once, so that each takes one.
        warm = self.catalog.search.warm
        await asyncio.gather(*(self.hops.read(warm) for _ in range(self.settings.read_threads)))
        await self.exports.begin(self.hops)
        await self.registered.begin(self.hops)
        doors = self.transfer.doors(self.hops, self._packs)
        await self.data.start(self.pipeline, doors, self.transfer.limits)
        self.addresses = await self.grpc.start(self.settings.listen, self.unix_socket, self.tls)
        self.folder.announce(
            {
                "pid": os.getpid(),
                "listen": list(self.addresses),
                "tls": self.tls is not None,
                "socket": str(self.unix_socket),
                "version": self.facts.version,
                "server_id": self.folder.server_id,
                "start_time": self.facts.start_time,
            }
        )
        await self.hops.io(ballast.keep, self.database.path)
        self.used.begin()
        if self.used.metrics is not None:
            self._every(MEASURE_SECONDS, self._measure)
        self._every(_USAGE_SECONDS, self._store_usage)
        self._every(_TOKEN_USE_SECONDS, self._store_token_uses)
        self._every(_USAGE_SECONDS, self._learn_words)
        self._every(_REAP_SECONDS, self._reap)
        self._every(_FACTS_SECONDS, self.reader.turn)
        self._every(_USAGE_SECONDS, self._flush_audit)
        self._every(_HEAD_SECONDS, self._keep_audit_head)
        self.runner.start()
        log.info("server.started addresses=%s data=%s", ",".join(self.addresses), self.folder.path)

    async def start_worker(self) -> WorkerProcess:
        """Start a worker beside the server with a token of its own. Raises WorkerMissingError."""
        secret = await self.hops.write(self.identity.issue_local_worker_token)
        token_file = self.folder.keep_token(WORKER, secret)
        return await WorkerProcess.start(
            f"unix:{self.unix_socket}",
            token_file,
            folder=self.folder.path / "worker",
            log_file=self.folder.logs / "worker.log",
        )

    async def stop(self) -> None:
        """Drain, then write down what is gathered and close everything."""
        log.info("server.draining seconds=%g", self.settings.drain_seconds)
        drain = self.settings.drain_seconds
        await asyncio.gather(self.runner.stop(drain), self.grpc.drain(drain))  # bodies are clients too
        await self.data.stop()
        for task in self._periodic:
            task.cancel()
        await asyncio.gather(*self._periodic, return_exceptions=True)
        for store in (self._store_usage, self._store_token_uses):
            try:
                await store()
            except IngotError as error:  # a full disk must not keep the rest from being closed
                log.warning("server.figures_not_stored error=%s", error.message)
        await self.audit.end(self.hops)
        await self.used.end(self.hops)
        self.hops.close()
        self.database.close()
        log.info("server.stopped")

    async def _measure(self) -> None:
        await self.used.measure(self.hops, self.database)

    async def _store_usage(self) -> None:
        await self.used.store(self.hops)

    async def _flush_audit(self) -> None:
        await self.audit.flush(self.hops)

    async def _keep_audit_head(self) -> None:
        await self.audit.keep(self.hops)

    async def _store_token_uses(self) -> None:
        await self.people.store_uses(self.hops)

    async def _reap(self) -> None:
        await self.hops.write(self.training.workers.reap)

    async def _index_again(self) -> None:
        """Make what older code has written findable in the form of today."""
        total = 0
        while renewed := await self.hops.write(self.catalog.search.renew):
            total += renewed
            if renewed != total:
                log.info("catalog.indexing artifacts=%d", total)

    async def _learn_words(self) -> None:
        if self.catalog.search.wants_words():
            await self.hops.write(self.catalog.search.learn_words)

    def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work` now and every so many seconds; a failure is logged and its next turn comes anyway."""

        async def turn() -> None:
            while True:
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 (its next turn comes anyway)
                    self._complaints.tell(f"periodic.failed work={work.__name__}", error)
                await asyncio.sleep(seconds)

        self._periodic.append(asyncio.create_task(turn()))


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    folder: DataFolder,
    clock: Clock | None = None,
    *,
    origins: Mapping[str, str] | None = None,
) -> AsyncIterator[App]:
    """Serve for the length of a with block; `folder` is released at its end.

    `origins` names where the settings came from that are no defaults.

    Raises DatabaseOpenError, MigrationError, AddressError, DataFolderError.
    """
    with contextlib.closing(folder), only_server(settings.database, folder.path):
        app = App(settings, folder, clock or SystemClock(), origins or {})
        try:
            await app.start()
            yield app
        finally:
            await app.stop()


@functools.cache
def version() -> str:
    """Return the version of the installed package; `0+source` when it runs from a bare checkout."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("ingot")
    return "0+source"
