"""The parts of training and workers, wired for app.py and for tests.

They are made in two steps, because others stand in between: who may read what depends on the claims that
workers hold (`TrainingShelves.assignments`), and jobs pin versions of the catalog and hold trees of the
transfer.

    shelves = TrainingShelves(settings, database.after_commit, counters, clock)
    access = Access(users, shelves.assignments, fence)     # and the catalog, with shelves.jobs as dependants
    rules = TrainingRules(shelves, access, versions, trees, requests, tokens)
    rules.serve(hops, grpc_server)                         # uploads get rules.checkpoints
"""

import grpc

from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.pages import PageTokens
from ingot.server.core.training_stores import TreeDropper
from ingot.server.core.workers import WorkPolicy
from ingot.server.domain.access import Access
from ingot.server.domain.assignments import Assignments
from ingot.server.domain.attempts import Attempts
from ingot.server.domain.checkpoints import Checkpoints
from ingot.server.domain.events import AfterCommit, EventLog
from ingot.server.domain.generation import Generations
from ingot.server.domain.generation_offers import GenerationOffers
from ingot.server.domain.jobs import Jobs
from ingot.server.domain.reproductions import Reproductions
from ingot.server.domain.requests import Requests
from ingot.server.domain.training import Training, VersionSource
from ingot.server.domain.training_views import TrainingViews
from ingot.server.domain.work_reports import WorkReports
from ingot.server.domain.workers import Workers
from ingot.server.rpc.generating import TextStreams
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.server.rpc.training import TrainingServicer
from ingot.server.rpc.watching import JobWatcher
from ingot.server.rpc.workers import WorkersServicer
from ingot.server.settings.fields import Settings
from ingot.server.storage.events_sql import EventsSql, MetricsSql
from ingot.server.storage.training_sql import CheckpointsSql, TrainingSql
from ingot.server.storage.workers_sql import WorkersSql
from ingot.v1 import training_pb2_grpc, workers_pb2_grpc


class TrainingShelves:
    """Rows, event log and running generations: what needs nobody else."""

    def __init__(
        self, settings: Settings, after_commit: AfterCommit, counters: CounterStore, clock: Clock
    ) -> None:
        self.clock = clock
        self.policy = policy_of(settings)
        self.counters = counters
        self.jobs = TrainingSql()
        self.checkpoints = CheckpointsSql()
        self.workers = WorkersSql()
        self.metrics = MetricsSql()
        self.tails = Tails()
        self.log = EventLog(EventsSql(), after_commit, self.tails, clock, settings.events_kept)
        self.generations = Generations(self.tails, self.policy, clock)
        self.assignments = Assignments(self.jobs, self.workers, self.generations)


class TrainingRules:
    """The rules of training and workers, and their servicers."""

    def __init__(
        self,
        shelves: TrainingShelves,
        access: Access,
        versions: VersionSource,
        trees: TreeDropper,
        requests: Requests,
        tokens: PageTokens,
    ) -> None:
        clock, policy, log, counters = shelves.clock, shelves.policy, shelves.log, shelves.counters
        rows, checkpoints = shelves.jobs, shelves.checkpoints
        jobs = Jobs(rows, log, clock)
        attempts = Attempts(jobs, log, policy, clock)
        self._shelves = shelves
        self.views = TrainingViews(
            jobs,
            rows,
            checkpoints,
            shelves.metrics,
            shelves.workers,
            log,
            access,
            tokens,
            policy,
            clock,
        )
        self.training = Training(
            jobs,
            rows,
            checkpoints,
            trees,
            versions,
            self.views,
            log,
            access,
            requests,
            counters,
            clock,
        )
        self.reproductions = Reproductions(self.training, self.views, versions, requests)
        self.checkpoints = Checkpoints(checkpoints, jobs, access, log, trees, clock)
        self.workers = Workers(
            shelves.workers,
            rows,
            checkpoints,
            jobs,
            attempts,
            shelves.generations,
            counters,
            tokens,
            policy,
            clock,
        )
        self.reports = WorkReports(self.workers, attempts, jobs, log, shelves.metrics, shelves.generations)
        self.offers = GenerationOffers(versions, self.views, rows, counters)

    def serve(self, hops: Hops, server: grpc.aio.Server) -> None:
        """Add the two services to a server."""
        shelves = self._shelves
        texts = TextStreams(
            hops,
            self.offers,
            shelves.generations,
            shelves.tails,
            shelves.clock,
            shelves.policy.generation_wait_seconds,
        )
        watcher = JobWatcher(hops, self.views, shelves.tails, shelves.clock)
        training_pb2_grpc.add_TrainingServiceServicer_to_server(
            TrainingServicer(hops, self.training, self.reproductions, self.views, watcher, texts), server
        )
        workers_pb2_grpc.add_WorkersServiceServicer_to_server(
            WorkersServicer(hops, self.workers, self.reports, self.views, shelves.tails, shelves.clock),
            server,
        )


def policy_of(settings: Settings) -> WorkPolicy:
    """Return how long claims live and how often lost work is tried again, as it is set."""
    return WorkPolicy(
        lease_seconds=settings.worker_lease_seconds,
        heartbeat_seconds=settings.worker_heartbeat_seconds,
        max_retries=settings.training_retries,
        retry_seconds=settings.training_retry_seconds,
        generation_wait_seconds=settings.generation_wait_seconds,
    )
