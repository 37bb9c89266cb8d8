"""What one may see of training jobs: why they wait, their logs, numbers, checkpoints and totals.

Everything here runs inside a read, and asks first whether the caller may see the job at all.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ingot.server.core.clock import Clock
from ingot.server.core.errors import invalid_field
from ingot.server.core.events import Event, EventKind, LogLevel, MetricPoint
from ingot.server.core.identity import Caller
from ingot.server.core.names import ANY_NAMESPACE
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.core.training import (
    FINAL_STATES,
    Checkpoint,
    JobState,
    JobView,
    TrainingJob,
    TrainingStats,
)
from ingot.server.core.training_config import wants_gpu
from ingot.server.core.training_stores import CheckpointStore, MetricStore, TrainingStore, WorkerStore
from ingot.server.core.workers import Worker, WorkPolicy
from ingot.server.domain import plans
from ingot.server.domain.access import Access
from ingot.server.domain.events import EventLog, LogPage
from ingot.server.domain.jobs import Jobs

DEFAULT_POINTS, LARGEST_POINTS = 500, 10_000


@dataclass(frozen=True, slots=True)
class Series:
    """A thinned series of numbers."""

    name: str
    points: Sequence[MetricPoint]


class TrainingViews:
    """Reads training jobs on behalf of a caller."""

    def __init__(
        self,
        jobs: Jobs,
        store: TrainingStore,
        checkpoints: CheckpointStore,
        metrics: MetricStore,
        workers: WorkerStore,
        log: EventLog,
        access: Access,
        tokens: PageTokens,
        policy: WorkPolicy,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._checkpoints = checkpoints
        self._metrics = metrics
        self._workers = workers
        self._log = log
        self._access = access
        self._tokens = tokens
        self._policy = policy
        self._clock = clock

    def get(self, caller: Caller, job: str) -> JobView:
        """Return a job by its id. Raises NotFound (TRAINING_JOB_NOT_FOUND)."""
        return self.view(self._readable(caller, job))

    def view(self, job: TrainingJob) -> JobView:
        """Return a job the caller is known to see, with why it waits."""
        return self._view(job, self.online())

    def page(
        self, caller: Caller, namespace: str, state: JobState | None, size: int, token: str
    ) -> Page[JobView]:
        """Return a page of the jobs of a namespace (`-` for all that the caller may read), newest first.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        query = f"ListTrainingJobs {caller.principal} {namespace} {state}"
        after = self._tokens.decode(query, token)
        rows = self._store.page(self._namespaces(caller, namespace), state, _number(after), size)
        online = self.online()
        views = tuple(self._view(job, online) for job in rows.items)
        return Page(views, self._tokens.encode(query, rows.next_key) if rows.next_key else "")

    def stats(self, caller: Caller) -> TrainingStats:
        """Total the jobs that the caller may see; running ones count with their time until now."""
        namespaces = self._namespaces(caller, ANY_NAMESPACE)
        return self._store.stats(namespaces, self._clock.now())

    def events(self, caller: Caller, job: str, after: int, limit: int) -> LogPage:
        """Return up to `limit` events after a number, and whether the job ended with them.

        Raises NotFound (TRAINING_JOB_NOT_FOUND), OutOfRange (RESUME_TOKEN_EXPIRED).
        """
        found = self._readable(caller, job)
        events = self._log.read(found.name, after, limit)
        return self._log_page(found, events, events[-1].seq if events else after)

    def log_lines(
        self, caller: Caller, job: str, after: int, limit: int, min_level: LogLevel | None, rank: int | None
    ) -> LogPage:
        """Return up to `limit` log lines after a number. Raises as `events`."""
        found = self._readable(caller, job)
        events = self._log.read(found.name, after, limit, kind=EventKind.LOG, min_level=min_level, rank=rank)
        everything = self._log.bounds(found.name).latest  # nothing that fits is left before this one
        return self._log_page(found, events, events[-1].seq if len(events) == limit else everything)

    def log_start(
        self, caller: Caller, job: str, tail: int, min_level: LogLevel | None, rank: int | None
    ) -> int:
        """Return the number after which the last `tail` log lines come. Raises NotFound, Invalid."""
        if tail < 0:
            raise invalid_field("tail", f"expected 0 or more, got {tail}")
        found = self._readable(caller, job)
        return self._log.before_last(found.name, tail, min_level=min_level, rank=rank)

    def series(
        self, caller: Caller, job: str, names: Sequence[str], max_points: int, after_step: int
    ) -> Sequence[Series]:
        """Return series thinned to at most `max_points` each (0 gives 500), all of them when none is named.

        Raises NotFound (TRAINING_JOB_NOT_FOUND), Invalid (FIELD_INVALID).
        """
        if max_points < 0 or max_points == 1:
            raise invalid_field("max_points", f"expected 2 or more, or 0 for 500, got {max_points}")
        subject = self._readable(caller, job).name
        points = min(max_points or DEFAULT_POINTS, LARGEST_POINTS)
        wanted = sorted(set(names)) or self._metrics.names(subject)
        after = after_step or -1  # 0 is not set: there are numbers of step 0
        return [Series(name, self._metrics.points(subject, name, after, points)) for name in wanted]

    def checkpoints(self, caller: Caller, job: str, size: int, token: str) -> Page[Checkpoint]:
        """Return a page of the checkpoints of a job, newest first.

        Raises NotFound (TRAINING_JOB_NOT_FOUND), Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        found = self._readable(caller, job)
        query = f"ListCheckpoints {found.uid}"
        after = _number(self._tokens.decode(query, token))
        newest = sorted(self._checkpoints.all(job), key=lambda each: each.step, reverse=True)
        rest = [each for each in newest if after is None or each.step < after]
        more = len(rest) > size
        return Page(tuple(rest[:size]), self._tokens.encode(query, (rest[size - 1].step,)) if more else "")

    def online(self) -> Sequence[Worker]:
        """Return the workers that were heard from lately."""
        return self._workers.heard_since(self._clock.now() - self._policy.lease_seconds)

    def _readable(self, caller: Caller, job: str) -> TrainingJob:
        found = self._jobs.find(job)
        self._access.require_job_read(caller, found.name, found.namespace)
        return found

    def _namespaces(self, caller: Caller, namespace: str) -> Collection[str] | None:
        """Return the namespaces to list; None for all of them."""
        if namespace != ANY_NAMESPACE:
            return [namespace] if caller.may_read(namespace) else []
        if caller.is_admin:
            return None
        return [] if caller.is_worker else caller.reads | caller.writes

    def _view(self, job: TrainingJob, online: Sequence[Worker]) -> JobView:
        now = self._clock.now()
        reason = ""
        if job.state is JobState.QUEUED:
            busy = {each.worker for each in self._store.held_by([worker.id for worker in online])}
            reason = why_waiting(job, online, busy, now)
        return JobView(job, reason, job.training_time(now))

    def _log_page(self, job: TrainingJob, events: Sequence[Event], position: int) -> LogPage:
        latest = self._log.bounds(job.name).latest
        return LogPage(events, position, latest, job.state in FINAL_STATES and position >= latest)


def why_waiting(job: TrainingJob, online: Sequence[Worker], busy: Collection[str], now: float) -> str:
    """Say in one line why a queued job has no worker yet; `busy` holds the ids of workers with a job."""
    if job.not_before > now:
        return f"Attempt {job.attempt} was lost; it is tried again in {job.not_before - now:.0f} s."
    if not online:
        return "No worker is online. Start one with ingot-worker run."
    complete = [each for each in online if not each.facts.missing_software]
    if not complete:
        missing = sorted({name for each in online for name in each.facts.missing_software})
        if len(online) == 1:
            return f"The only online worker is not complete; it lacks {', '.join(missing)}."
        return f"None of the {len(online)} online workers is complete; they lack {', '.join(missing)}."
    able = [each for each in complete if plans.suits(job.config, each)]
    if not able:
        return f"No online worker has a GPU ({len(complete)} online without one), and the job asks for one."
    if all(each.id in busy for each in able):
        if len(able) == 1:
            return "The only online worker that could take it is busy."
        return f"All {len(able)} online workers that could take it are busy."
    wanted = "a GPU worker" if wants_gpu(job.config) else "a worker"
    return f"Waits for {wanted} to claim it."


def _number(key: Sequence[str | int | float] | None) -> int | None:
    return None if key is None else int(key[0])
