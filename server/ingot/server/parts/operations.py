"""The parts of operations, wired for app.py and for tests.

parts = OperationParts(settings, log, counters, database.after_commit, tokens, folder.secret, clock)
parts.operations.enqueue(…)                     # inside the write of any feature
parts.operations.on("import", hook)             # a feature follows its operations
parts.shelf.add("collect", upkeep.collect)      # the bodies that run inside the server
parts.serve(hops, grpc_server, starts, tails)
runner = parts.runner(hops, home, server_id, means)
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

import grpc

from ingot.server.core import keys
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.kinds import Place
from ingot.server.core.operations import OperationDefaults, RetryPolicy
from ingot.server.core.pages import PageTokens
from ingot.server.domain.claims import Claims
from ingot.server.domain.events import AfterCommit, EventLog
from ingot.server.domain.operation_kinds import OperationKinds
from ingot.server.domain.operations import Operations
from ingot.server.domain.schedules import Schedules
from ingot.server.domain.secret_params import SecretParams
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.operations import OperationsServicer, Starts
from ingot.server.rpc.operations_watching import OperationWatcher
from ingot.server.rpc.tails import Tails
from ingot.server.runner.bodies import BODY_COMMAND, BodyFolders, BodyMeans, ProcessBodies, SettingValue
from ingot.server.runner.dispatchers import Dispatcher, Memory, Rows
from ingot.server.runner.runner import Runner
from ingot.server.runner.seams import Patience
from ingot.server.runner.shelf import ShelfBodies
from ingot.server.settings.checks import queue_limits
from ingot.server.settings.fields import Settings
from ingot.server.settings.table import table
from ingot.server.sources import export_places
from ingot.server.storage.operations_sql import OperationsSql, SchedulesSql
from ingot.server.storage.sealing import Sealer
from ingot.v1 import operations_pb2_grpc


class OperationParts:
    """The rules of operations, their servicer, and who runs them; `secret` is that of the data folder."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        counters: CounterStore,
        after_commit: AfterCommit,
        tokens: PageTokens,
        secret: bytes,
        clock: Clock,
    ) -> None:
        rows = OperationsSql()
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self.limits = queue_limits(settings.operation_queues)
        self.secrets = SecretParams(Sealer(keys.derived(secret, keys.OPERATION_PARAMS)))
        self.operations = Operations(
            rows, log, counters, after_commit, tokens, self.secrets, defaults_of(settings), clock
        )
        self.claims = Claims(rows, self.operations.moves, settings.operation_lease_seconds, clock)
        self.schedules = Schedules(SchedulesSql(), self.operations, periods_of(settings), clock)
        self.shelf = ShelfBodies()

    def serve(self, hops: Hops, server: grpc.aio.Server, starts: Starts, tails: Tails) -> None:
        """Add OperationsService to a server; `tails` are those that the log announces to."""
        kinds = OperationKinds(self.operations, self.schedules, self.limits)
        watcher = OperationWatcher(hops, self.operations, tails, self._tokens, self._clock)
        servicer = OperationsServicer(hops, self.operations, kinds, starts, watcher)
        operations_pb2_grpc.add_OperationsServiceServicer_to_server(servicer, server)

    def runner(
        self,
        hops: Hops,
        home: Path,
        server_id: str,
        means: BodyMeans,
        command: Sequence[str] = BODY_COMMAND,
        patience: Patience | None = None,
    ) -> Runner:
        """Return what runs the operations of this server; its bodies keep their files below `home`."""
        patience = patience or Patience(lease=self._settings.operation_lease_seconds)
        folders = BodyFolders(home)
        processes = ProcessBodies(hops, folders, means, command)
        return Runner(
            f"{server_id}/{secrets.token_hex(4)}",  # each run of a server is a runner of its own
            hops,
            self.operations,
            self.claims,
            self.schedules,
            self._dispatcher(hops, patience),
            {Place.PROCESS: processes, Place.SHELF: self.shelf},
            self.limits,
            patience,
            folders,
            export_places.tidy,
            self._clock,
        )

    def _dispatcher(self, hops: Hops, patience: Patience) -> Dispatcher:
        if self._settings.operation_dispatcher == "memory":
            return Memory(self.claims, hops, self._clock, patience.poll)
        return Rows(self.claims, hops, self.limits, patience.poll)


def defaults_of(settings: Settings) -> OperationDefaults:
    """Return retries, timeout and quota as they are set."""
    policy = RetryPolicy(settings.operation_attempts, settings.operation_retry_seconds)
    return OperationDefaults(policy, settings.operation_timeout_seconds, settings.operation_quota)


def periods_of(settings: Settings) -> dict[str, float]:
    """Return the seconds between two turns of each periodic kind; 0 is never."""
    hours = {
        "clean": settings.clean_hours,
        "collect": settings.collect_hours,
        "scrub": settings.scrub_hours,
        "backup": settings.backup_hours,
    }
    return {kind: each * 3600 for kind, each in hours.items()}


def settings_of_bodies(settings: Settings) -> dict[str, SettingValue]:
    """Return what bodies are told of the settings: all but secrets; paths whole, "" where none is set."""
    values: dict[str, SettingValue] = {}
    for each in table():
        if not each.secret:
            value = getattr(settings, each.name)
            values[each.name] = value
            if isinstance(value, Path):  # a body runs in another folder
                values[each.name] = "" if value == Path() else str(value.absolute())
    return values
