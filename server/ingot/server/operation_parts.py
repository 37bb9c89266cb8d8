"""The parts of operations, wired for app.py and for tests.

parts = OperationParts(settings, log, counters, database.after_commit, tokens, clock)
parts.operations.enqueue(…)          # inside the write of any feature
parts.serve(hops, grpc_server)
"""

import grpc

from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.operations import OperationDefaults, RetryPolicy
from ingot.server.core.pages import PageTokens
from ingot.server.domain.claims import Claims
from ingot.server.domain.events import AfterCommit, EventLog
from ingot.server.domain.operations import Operations
from ingot.server.domain.schedules import Schedules
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.operations import OperationsServicer
from ingot.server.settings import Settings, queue_limits
from ingot.server.storage.operations_sql import OperationsSql, SchedulesSql
from ingot.v1 import operations_pb2_grpc


class OperationParts:
    """The rules of operations, and their servicer."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        counters: CounterStore,
        after_commit: AfterCommit,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        rows = OperationsSql()
        self.limits = queue_limits(settings.operation_queues)
        self.operations = Operations(rows, log, counters, after_commit, tokens, defaults_of(settings), clock)
        self.claims = Claims(rows, self.operations.moves, settings.operation_lease_seconds, clock)
        periods = {"clean": settings.clean_hours * 3600}
        self.schedules = Schedules(SchedulesSql(), self.operations, periods, clock)

    def serve(self, hops: Hops, server: grpc.aio.Server) -> None:
        """Add OperationsService to a server."""
        operations_pb2_grpc.add_OperationsServiceServicer_to_server(
            OperationsServicer(hops, self.operations), server
        )


def defaults_of(settings: Settings) -> OperationDefaults:
    """Return retries and timeout as they are set."""
    policy = RetryPolicy(settings.operation_attempts, settings.operation_retry_seconds)
    return OperationDefaults(policy, settings.operation_timeout_seconds)
