"""Training, workers and operations over a database in memory, with a clock that tests move.

    bench = Bench()
    job = bench.create(start=True)
    worker = bench.register("one")
    work = bench.claim(worker)
    bench.clock.advance(21); bench.write(bench.rules.workers.reap)

Everything is the server's own but three seams: the clock, the versions that can be pinned, and the trees that
checkpoints hold (both remembered in plain collections).
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from helpers.schema import migrated
from ingot.server.core.artifacts import Version, VersionState
from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, Reason
from ingot.server.core.events import Event
from ingot.server.core.identity import SCOPES_OF_ROLE, Caller, Role, User
from ingot.server.core.manifests import Tree
from ingot.server.core.names import AliasName, ArtifactName, VersionName, VersionReference
from ingot.server.core.names import artifact_name as parse
from ingot.server.core.pages import PageTokens
from ingot.server.core.training import CheckpointKind, JobView, NewCheckpoint, TrainingJob
from ingot.server.core.training_config import TrainingConfig
from ingot.server.core.workers import Device, TrainingAssignment, Worker, WorkerFacts, WorkKind
from ingot.server.domain.access import Access
from ingot.server.domain.operation_tokens import Fence
from ingot.server.domain.requests import Requests
from ingot.server.domain.training import JobDraft, Request
from ingot.server.domain.work_reports import Ending
from ingot.server.parts.operations import OperationParts
from ingot.server.parts.training import TrainingRules, TrainingShelves
from ingot.server.settings.fields import Settings
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.identity_sql import CountersSql, RequestsSql, UsersSql
from ingot.server.storage.operations_sql import OperationsSql

P = ParamSpec("P")
T = TypeVar("T")

DATASET = parse("namespaces/sara/datasets/chat")
BASE = parse("namespaces/sara/models/base")
OUTPUT = parse("namespaces/sara/models/tiny")
CPU = Device("cpu", "EPYC", 24 * 1024**3, 2)
GPU = Device("cuda", "H200", 141 * 1024**3, 1)
MIB = 1024 * 1024


def person(user: str = "sara", role: Role = Role.MEMBER) -> Caller:
    """Return a caller with its own namespace."""
    return Caller(
        principal=f"users/{user}",
        user=user,
        role=role,
        scopes=SCOPES_OF_ROLE[role],
        token=f"users/{user}/tokens/tok_1",
        namespace=user,
        writes=frozenset({user}),
        reads=frozenset({user}),
    )


def machine(token: str = "tok_9") -> Caller:
    """Return a worker's caller."""
    name = f"users/admin/tokens/{token}"
    return dataclasses.replace(
        person("admin", Role.WORKER), principal=name, token=name, address="192.0.2.7", writes=frozenset()
    )


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


class Versions:
    """Versions that can be pinned; implements VersionSource."""

    def __init__(self) -> None:
        self.sizes = {DATASET.version("3"): MIB, BASE.version("1"): 16 * MIB}
        self.latest = {DATASET: "3", BASE: "1"}

    def resolve(self, caller: Caller, reference: VersionReference) -> Version:
        name = self._name(reference)
        if name not in self.sizes:
            raise NotFound(Reason.VERSION_NOT_FOUND, f"There is no {reference}.")
        return Version(
            name=name,
            uid=str(name),
            state=VersionState.READY,
            digest=digest_of(name),
            file_count=1,
            size_bytes=self.sizes[name],
            new_bytes=0,
            format="jsonl",
            creator="users/sara",
            create_time=0.0,
            ready_time=0.0,
        )

    def _name(self, reference: VersionReference) -> VersionName:
        if isinstance(reference, ArtifactName):
            return reference.version(self.latest.get(reference, "0"))
        if isinstance(reference, AliasName):
            return reference.artifact.version(self.latest.get(reference.artifact, "0"))
        return reference


class Trees:
    """Remembers which trees were let go; implements TreeDropper."""

    def __init__(self) -> None:
        self.released: list[int] = []

    def drop(self, tree: int) -> None:
        self.released.append(tree)


def digest_of(name: object) -> bytes:
    """Return a digest that differs from name to name."""
    return str(name).encode().rjust(32, b".")[-32:]


class Bench:
    """The rules of training with everything below them."""

    def __init__(
        self,
        settings: Settings | None = None,
        url: str = "sqlite:///:memory:",
        clock: Clock | None = None,
    ) -> None:
        self.clock = FakeClock()  # what tests move; unused when they bring another clock
        self._clock = clock or self.clock
        self.settings = settings or Settings()
        self.database: Database = open_database(url)
        migrated(self.database)
        self.versions = Versions()
        self.trees = Trees()
        self.users = UsersSql()
        self.wire()
        if not self.read(self.users.namespace_exists, "sara"):
            for name in ("sara", "omid"):
                self.write(self.users.add, User(name, name, name, Role.MEMBER, 0.0))

    def wire(self) -> None:
        """Make all parts anew over the same rows, as a restarted server does."""
        counters = CountersSql()
        self.shelves = TrainingShelves(self.settings, self.database.after_commit, counters, self._clock)
        self.access = Access(self.users, self.shelves.assignments, Fence(OperationsSql()), GrantsSql())
        self.operations = OperationParts(
            self.settings,
            self.shelves.log,
            counters,
            self.database.after_commit,
            PageTokens(b"secret"),
            b"the secret of a folder",
            self._clock,
        )
        self.rules = TrainingRules(
            self.shelves,
            self.access,
            self.versions,
            self.trees,
            Requests(RequestsSql(), self._clock),
            PageTokens(b"secret"),
        )

    def read(self, rule: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a rule that reads."""
        return self.database.read(rule, *args, **kwargs)

    def write(self, rule: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a rule that writes."""
        return self.database.write(rule, *args, **kwargs).result(100)

    # --- people -----------------------------------------------------------------------------------------

    def create(self, *, start: bool = False, caller: Caller | None = None, **config: object) -> TrainingJob:
        """Create a job from DATASET into OUTPUT; keywords are keys of the config."""
        draft = JobDraft(
            dataset=DATASET,
            output=OUTPUT,
            config=TrainingConfig(**config),  # type: ignore[arg-type]
            start=start,
        )
        return self.write(self.rules.training.create, caller or person(), draft, Request()).job

    def steer(self, verb: str, job: TrainingJob, **request: str) -> TrainingJob:
        """Start, pause, resume or cancel a job."""
        rule: Callable[[Caller, str, Request], JobView] = getattr(self.rules.training, verb)
        return self.write(rule, person(), job.id, Request(**request)).job  # type: ignore[arg-type]

    def job(self, job: TrainingJob) -> TrainingJob:
        """Return a job as it is now."""
        return self.view(job).job

    def view(self, job: TrainingJob) -> JobView:
        """Return a job as people see it now."""
        return self.read(self.rules.views.get, person(), job.id)

    def events(self, job: TrainingJob, after: int = 0) -> list[Event]:
        """Return the whole log of a job."""
        return list(self.read(self.rules.views.events, person(), job.id, after, 100_000).events)

    # --- workers ----------------------------------------------------------------------------------------

    def register(
        self,
        name: str = "one",
        *,
        devices: tuple[Device, ...] = (CPU,),
        missing: tuple[str, ...] = (),
        caller: Caller | None = None,
    ) -> Worker:
        """Register a worker."""
        facts = WorkerFacts(name, devices, {"python": "3.11"}, missing, free_disk_bytes=10**12)
        return self.write(self.rules.workers.register, caller or machine(), facts)

    def claim(self, worker: Worker, kind: WorkKind | None = None) -> TrainingAssignment | None:
        """Claim a training job."""
        found = self.write(self.rules.workers.claim, machine(), worker.name, kind or WorkKind.TRAINING)
        assert found is None or isinstance(found, TrainingAssignment)
        return found

    def claimed(self, worker: Worker) -> TrainingJob:
        """Claim a training job that must be there."""
        found = self.claim(worker)
        assert found is not None
        return found.job

    def finish(self, worker: Worker, job: TrainingJob, ending: Ending) -> TrainingJob:
        """End the attempt that `job` was claimed in."""
        found = self.write(self.rules.reports.finish, machine(), worker.name, job.name, job.attempt, ending)
        assert found is not None
        return found

    def save(
        self,
        job: TrainingJob,
        step: int,
        kind: CheckpointKind = CheckpointKind.PERIODIC,
        **metrics: float,
    ) -> None:
        """Commit a checkpoint of the attempt that `job` was claimed in; its tree has the step's number."""
        target = NewCheckpoint(job.id, step, job.attempt, step / 100, kind, metrics)
        tree = Tree(step, f"uploads/file_{step}", job.namespace, digest_of(step), 3, 1000)
        self.write(self.rules.checkpoints.commit, machine(), target, tree)
        self.clock.advance(1)


@contextlib.contextmanager
def bench(settings: Settings | None = None) -> Iterator[Bench]:
    """Make a bench for the length of a with block."""
    made = Bench(settings)
    with contextlib.closing(made.database):
        yield made
