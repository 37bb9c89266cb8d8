"""What people do with training jobs: create, start, pause, resume, cancel and delete them.

A job is pinned when it is created: dataset, base model and their digests never change afterwards. The verbs
only store what is wanted and answer at once; the worker that has the job hears of it with its next
heartbeat, or sooner through its watch, and the job's event log shows when it is done.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

from ingot.server.core import ids, journal, texts
from ingot.server.core.artifacts import Version
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Conflict, Denied, NotFound, Precondition, Reason, invalid_field
from ingot.server.core.events import NewEvent, StateChange
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName, Kind, VersionReference, version_reference
from ingot.server.core.training import (
    LIVE_STATES,
    Desired,
    JobState,
    JobView,
    Move,
    PinnedVersion,
    TrainingJob,
)
from ingot.server.core.training_config import (
    DeepSpeedConfig,
    TrainingConfig,
    check,
    filled,
    filled_engine,
)
from ingot.server.core.training_stores import CheckpointStore, TrainingStore, TreeDropper
from ingot.server.domain import plans
from ingot.server.domain.access import Access
from ingot.server.domain.events import EventLog
from ingot.server.domain.jobs import JobChanges, Jobs
from ingot.server.domain.requests import Requests
from ingot.server.domain.training_views import TrainingViews

LONGEST_DISPLAY_NAME = 200


class VersionSource(Protocol):
    """The part of the catalog that pins references."""

    def resolve(self, caller: Caller, reference: VersionReference) -> Version:
        """Return the concrete, ready version that a reference names."""
        ...


@dataclass(frozen=True, slots=True)
class JobDraft:
    """What a caller says when it creates a job; "" and None leave it to the server."""

    dataset: VersionReference
    base: VersionReference | None = None
    output: ArtifactName | None = None
    namespace: str = ""
    display_name: str = ""
    config: TrainingConfig = field(default_factory=TrainingConfig)
    deepspeed: DeepSpeedConfig = field(default_factory=DeepSpeedConfig)
    start: bool = False
    reproduces: str = ""  # name of the job that it does again
    warnings: tuple[str, ...] = ()  # for its plan


@dataclass(frozen=True, slots=True)
class Request:
    """How a verb is asked for: `id` makes it safe to repeat, `payload` tells one request from another."""

    id: str = ""
    payload: bytes = b""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What went, or would go, with a job, and what names it and stays."""

    checkpoints: int
    size_bytes: int
    dependants: tuple[str, ...] = ()


class Training:
    """Changes training jobs on behalf of people. Methods run inside a write, `plan` inside a read."""

    def __init__(
        self,
        jobs: Jobs,
        store: TrainingStore,
        checkpoints: CheckpointStore,
        trees: TreeDropper,
        versions: VersionSource,
        views: TrainingViews,
        log: EventLog,
        access: Access,
        requests: Requests,
        counters: CounterStore,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._checkpoints = checkpoints
        self._trees = trees
        self._versions = versions
        self._views = views
        self._log = log
        self._access = access
        self._requests = requests
        self._counters = counters
        self._clock = clock

    def plan(self, caller: Caller, draft: JobDraft) -> JobView:
        """Return the job that `create` would make, without a number, checked and with its plan.

        Raises Invalid (FIELD_INVALID, CONFIG_CONTRADICTION), NotFound, Precondition (STATE_INVALID).
        """
        return self._views.view(self._drafted(caller, draft, number=0))

    def create(self, caller: Caller, draft: JobDraft, request: Request) -> JobView:
        """Create a job in DRAFT, or QUEUED when `draft.start` is set. Raises as `plan`."""

        def make() -> str:
            job = self._drafted(caller, draft, self._counters.next("job"))
            self._store.add(job)
            journal.about(job.name)
            created = StateChange("", job.state.value, f"created by {caller.principal}")
            self._log.append(job.name, 0, [NewEvent(created)])
            if draft.start:
                self._jobs.move(job, Move.START, f"asked by {caller.principal}", desired=Desired.RUN)
            return job.id

        job, _ = self._requests.once(caller, "CreateTrainingJob", request.id, request.payload, make)
        return self._views.get(caller, job)

    def start(self, caller: Caller, job: str, request: Request) -> JobView:
        """Queue a draft. Raises NotFound, Conflict (ETAG_MISMATCH), Precondition (STATE_INVALID)."""
        return self._steer(caller, job, request, Move.START, {"desired": Desired.RUN})

    def pause(self, caller: Caller, job: str, request: Request) -> JobView:
        """Ask a job to save and let go of its machine; one that only waits is paused at once.

        Pausing twice is harmless. Raises as `start`.
        """
        return self._steer(caller, job, request, Move.PAUSE, {"desired": Desired.PAUSE})

    def resume(self, caller: Caller, job: str, request: Request) -> JobView:
        """Queue a paused or failed job again; one that is still pausing goes on as soon as it has paused.

        Raises as `start`.
        """
        again: JobChanges = {"desired": Desired.RUN, "problem": None, "fruitless": 0, "not_before": 0.0}
        return self._steer(caller, job, request, Move.RESUME, again)

    def cancel(self, caller: Caller, job: str, request: Request) -> JobView:
        """Ask a job to end without a result; one that no worker has ends at once. Raises as `start`."""
        return self._steer(caller, job, request, Move.CANCEL, {"desired": Desired.CANCEL})

    def delete(
        self, caller: Caller, job: str, request: Request, *, allow_missing: bool, validate_only: bool = False
    ) -> Deleted:
        """Remove a job that is not live, with its checkpoints and its log; the model it made stays.

        Raises NotFound unless `allow_missing`, Conflict (ETAG_MISMATCH), Precondition (STATE_INVALID).
        """

        def make() -> str:
            found = self._deletable(caller, job, request.etag)
            gone = self._going(caller, found)
            if not validate_only:
                self._remove(found)
            return " ".join((str(gone.checkpoints), str(gone.size_bytes), *gone.dependants))

        asked = ("", b"") if validate_only else (request.id, request.payload)
        try:
            done, _ = self._requests.once(caller, "DeleteTrainingJob", *asked, make)
        except NotFound:
            if not allow_missing:
                raise
            done = "0 0"
        count, size, *dependants = done.split()
        return Deleted(int(count), int(size), tuple(dependants))

    def result(self, caller: Caller, job: TrainingJob) -> Version | None:
        """Return the version that a job made, None where it is gone, or its name another's by now."""
        name = version_reference(job.output_version) if job.output_version else None
        if name is None:
            return None
        try:
            found = self._versions.resolve(caller, name)
        except (NotFound, Precondition):
            return None
        return found if found.origin.training_job == job.name else None

    def _deletable(self, caller: Caller, job: str, etag: str) -> TrainingJob:
        found = self._writable(caller, job, etag)
        if found.state in LIVE_STATES:
            raise Precondition(
                Reason.STATE_INVALID,
                f"{found.name} is {found.state}; expected a job that no worker has or waits for.",
                next_step="Cancel it first, then delete it.",
                facts={"name": found.name, "state": found.state.value},
            )
        return found

    def _going(self, caller: Caller, job: TrainingJob) -> Deleted:
        checkpoints, made = self._checkpoints.all(job.id), self.result(caller, job)
        size = sum(each.size_bytes for each in checkpoints)
        return Deleted(len(checkpoints), size, (str(made.name),) if made else ())

    def _remove(self, job: TrainingJob) -> None:
        for each in self._checkpoints.all(job.id):
            self._checkpoints.delete(each.job, each.step)
            self._trees.drop(each.tree)
        self._log.delete(job.name)
        self._store.delete(job)

    def _steer(self, caller: Caller, job: str, request: Request, move: Move, changes: JobChanges) -> JobView:
        def make() -> str:
            found = self._writable(caller, job, request.etag)
            self._jobs.move(found, move, f"asked by {caller.principal}", **changes)
            return job

        method = f"{move.value.capitalize()}TrainingJob"
        self._requests.once(caller, method, request.id, request.payload, make)
        return self._views.get(caller, job)

    def _writable(self, caller: Caller, job: str, etag: str) -> TrainingJob:
        found = self._jobs.find(job)
        self._access.require_job_write(caller, found.name, found.namespace)
        if caller.is_worker:  # its grant is for events and uploads, not for a person's verbs
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{caller.principal} is a worker's token; it may not steer {found.name}.",
                next_step="Use the token of a person; workers report with FinishWork.",
            )
        if etag and etag != found.etag:
            raise Conflict(
                Reason.ETAG_MISMATCH,
                f"{found.name} changed meanwhile: expected etag {etag}, it is {found.etag}.",
                next_step="Read the job again and decide anew.",
                facts={"name": found.name, "etag": found.etag},
            )
        return found

    def _drafted(self, caller: Caller, draft: JobDraft, number: int) -> TrainingJob:
        """Check a draft, pin what it names and work out its plan."""
        namespace = self._namespace(caller, draft)
        display_name = texts.line("display_name", draft.display_name, LONGEST_DISPLAY_NAME)
        config = filled(draft.config, from_base=draft.base is not None)
        deepspeed = filled_engine(draft.deepspeed)
        check(config, deepspeed)
        dataset = self._pinned(caller, draft.dataset, Kind.DATASET, "dataset")
        base = self._pinned(caller, draft.base, Kind.MODEL, "base_model") if draft.base else None
        now = self._clock.now()
        inputs = plans.Inputs(
            config=config,
            deepspeed=deepspeed,
            dataset_bytes=dataset.size_bytes,
            base_bytes=base.size_bytes if base else 0,
            workers=self._views.online(),
        )
        plan = plans.make(inputs, now)
        return TrainingJob(
            number=number,
            uid=ids.new_uid(now),
            namespace=namespace,
            creator=caller.principal,
            display_name=display_name,
            dataset=PinnedVersion(dataset.name, dataset.digest),
            base=PinnedVersion(base.name, base.digest) if base else None,
            config=config,
            deepspeed=deepspeed,
            output_artifact=draft.output or ArtifactName(namespace, Kind.MODEL, f"job_{number}"),
            plan=replace(plan, warnings=(*plan.warnings, *draft.warnings)),
            create_time=now,
            update_time=now,
            state=JobState.DRAFT,
            reproduces=draft.reproduces,
        )

    def _namespace(self, caller: Caller, draft: JobDraft) -> str:
        """Return where the job counts, after checking that the caller may write there."""
        output = draft.output
        namespace = draft.namespace or (output.namespace if output else caller.namespace)
        if output is not None and output.kind is not Kind.MODEL:
            raise invalid_field("output_artifact", f"expected a model, got the dataset {output}")
        if output is not None and output.namespace != namespace:
            raise invalid_field(
                "output_artifact",
                f"expected a model of namespaces/{namespace}, where the job counts, got {output}",
            )
        self._access.require_write(caller, namespace)
        return namespace

    def _pinned(self, caller: Caller, reference: VersionReference, kind: Kind, where: str) -> Version:
        artifact = reference if isinstance(reference, ArtifactName) else reference.artifact
        if artifact.kind is not kind:
            raise invalid_field(where, f"expected a {kind.word}, got {reference}")
        version = self._versions.resolve(caller, reference)
        if version.size_bytes == 0:
            raise invalid_field(where, f"expected a {kind.word} with content, {version.name} has 0 bytes")
        return version
