"""The interfaces through which training, workers and the event log reach their rows.

All are called inside a unit of work (Database.read or Database.write). There is one writer, so a rule may
read, decide and write; every save is a compare-and-set all the same, so that a rule that decided on something
old fails instead of undoing what came between.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from ingot.server.core.catalog_stores import Rows
from ingot.server.core.events import Bounds, Event, EventKind, LogLevel, MetricPoint, Metrics, NewEvent
from ingot.server.core.names import ArtifactName, VersionName
from ingot.server.core.training import Checkpoint, JobState, TrainingJob, TrainingStats
from ingot.server.core.workers import Worker, WorkGrant


class TrainingStore(Protocol):
    """Training jobs."""

    def find(self, job: str) -> TrainingJob | None:
        """Return a job by its id (`job_12`)."""
        ...

    def add(self, job: TrainingJob) -> None:
        """Add a job; its number must be new."""
        ...

    def save(self, before: TrainingJob, after: TrainingJob) -> None:
        """Store everything that may change of a job.

        Compare-and-set on state, attempt and revision of `before`. Raises Conflict (ETAG_MISMATCH) when the
        row is another by now; nothing is changed then.
        """
        ...

    def delete(self, job: TrainingJob) -> None:
        """Remove a job; its checkpoints and events must be gone."""
        ...

    def page(
        self, namespaces: Collection[str] | None, state: JobState | None, after: int | None, size: int
    ) -> Rows[TrainingJob]:
        """Return up to `size` jobs, newest first, after the number `after`; None namespaces means all."""
        ...

    def claimable(self, now: float, after: int, limit: int) -> Sequence[TrainingJob]:
        """Return up to `limit` queued jobs whose time has come, with numbers above `after`, oldest first."""
        ...

    def next_due(self, now: float) -> float | None:
        """Return the earliest future time at which a queued job may be claimed; None without one."""
        ...

    def held_by(self, workers: Collection[str]) -> Sequence[TrainingJob]:
        """Return the jobs that these workers (ids) have now, by number."""
        ...

    def expired(self, now: float) -> Sequence[TrainingJob]:
        """Return the jobs whose lease has run out."""
        ...

    def extend_all(self, expire_time: float) -> int:
        """Let every lease run at least until `expire_time`; return how many jobs are held."""
        ...

    def stats(self, namespaces: Collection[str] | None, now: float) -> TrainingStats:
        """Count jobs by state and add up their training time until `now`; None namespaces means all."""
        ...

    def dependants(self, artifact: ArtifactName) -> Sequence[str]:
        """Return names of jobs that are not over and pin a version of the artifact or will write it."""
        ...

    def reading(self, version: VersionName) -> Sequence[str]:
        """Return names of jobs that are not over and pin this version."""
        ...


class CheckpointStore(Protocol):
    """Checkpoints of training jobs, by job id and step."""

    def find(self, job: str, step: int) -> Checkpoint | None:
        """Return one checkpoint."""
        ...

    def put(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, or replace the one of the same job and step."""
        ...

    def delete(self, job: str, step: int) -> None:
        """Forget a checkpoint."""
        ...

    def all(self, job: str) -> Sequence[Checkpoint]:
        """Return the checkpoints of a job by step; a job keeps few."""
        ...


class TreeDropper(Protocol):
    """The part of the store of trees that lets checkpoints go."""

    def drop(self, tree: int) -> None:
        """Forget a tree and its manifest; its chunks go later, when nothing else needs them."""
        ...


class EventStore(Protocol):
    """Event logs by subject. Numbers of one subject are given in commit order, from 1, without gaps."""

    def append(self, subject: str, attempt: int, events: Sequence[NewEvent], now: float) -> Sequence[Event]:
        """Append events and return those that were new, with their numbers.

        An event whose (attempt, producer_seq) the log has had is skipped; producer_seq 0 is never compared.
        """
        ...

    def read(
        self,
        subject: str,
        after: int,
        limit: int,
        *,
        kind: EventKind | None = None,
        min_level: LogLevel | None = None,
        rank: int | None = None,
    ) -> Sequence[Event]:
        """Return up to `limit` events after a number, in order; level and rank select among log lines."""
        ...

    def before_last(
        self, subject: str, count: int, *, min_level: LogLevel | None = None, rank: int | None = None
    ) -> int:
        """Return the number after which the last `count` such log lines come; 0 when there are fewer."""
        ...

    def bounds(self, subject: str) -> Bounds:
        """Return the oldest number kept and the last one given."""
        ...

    def trim(self, subject: str, keep: int) -> None:
        """Forget the oldest events so that at most `keep` stay."""
        ...

    def delete(self, subject: str) -> None:
        """Forget a log and its series."""
        ...


class MetricStore(Protocol):
    """Series of numbers of one subject, one point a step; a step measured again replaces its point."""

    def record(self, subject: str, metrics: Metrics, time: float) -> None:
        """Store the numbers of a step, measured at `time`; NaN and infinities are kept."""
        ...

    def names(self, subject: str) -> Sequence[str]:
        """Return the names of its series, sorted."""
        ...

    def points(self, subject: str, series: str, after_step: int, max_points: int) -> Sequence[MetricPoint]:
        """Return at most `max_points` (2 or more) points, even over the later steps, with first and last."""
        ...


class WorkerStore(Protocol):
    """Workers."""

    def find(self, worker: str) -> Worker | None:
        """Return a worker by its id (`worker_3`)."""
        ...

    def by_name(self, token: str, display_name: str) -> Worker | None:
        """Return the worker that registered with this token under this name."""
        ...

    def of_token(self, token: str) -> Sequence[Worker]:
        """Return all workers that registered with a token."""
        ...

    def put(self, worker: Worker) -> None:
        """Add a worker, or store everything that may change of it."""
        ...

    def page(self, after: int | None, size: int) -> Rows[Worker]:
        """Return up to `size` workers by number, after the number `after`."""
        ...

    def heard_since(self, time: float) -> Sequence[Worker]:
        """Return the workers that were heard from at `time` or later."""
        ...


class GrantSource(Protocol):
    """Work that lives outside the rows and lets workers touch something, as text generations do."""

    def held_by(self, principal: str) -> Sequence[WorkGrant]:
        """Return what workers with this token may touch now."""
        ...
