"""Moving training jobs from state to state: what changes with every move, in one place.

Both sides of a job come here: people's verbs (training.py) and what workers do (workers.py). A move asks the
transition function, keeps the account of training time, stores the job by compare-and-set, appends the change
to the job's event log and wakes whoever waits for it.
"""

from dataclasses import replace
from typing import TypedDict, Unpack

from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, Problem
from ingot.server.core.events import Metrics, NewEvent, Progress, StateChange
from ingot.server.core.training import (
    FINAL_STATES,
    HELD_STATES,
    Desired,
    JobState,
    Move,
    ResumeCertificate,
    TrainingJob,
    transition,
)
from ingot.server.core.training_stores import TrainingStore
from ingot.server.domain import access
from ingot.server.domain.events import EventLog

WORK_TOPIC = "work"  # woken when work waits for a worker


class JobChanges(TypedDict, total=False):
    """Fields of a job that may change along with its state, or without it."""

    desired: Desired | None
    attempt: int
    worker: str
    lease_expire_time: float | None
    last_outcome: str
    not_before: float
    fruitless: int
    output_version: str
    progress: Progress | None
    latest_metrics: Metrics | None
    best_step: int | None
    latest_step: int | None
    certificate: ResumeCertificate | None
    problem: Problem | None


class Jobs:
    """Finds jobs and changes them. Methods run inside a write, `find` also inside a read."""

    def __init__(self, store: TrainingStore, log: EventLog, clock: Clock) -> None:
        self._store = store
        self._log = log
        self._clock = clock

    def find(self, job: str) -> TrainingJob:
        """Return a job by its id. Raises NotFound (TRAINING_JOB_NOT_FOUND)."""
        found = self._store.find(job)
        if found is None:
            raise not_found(job)
        return found

    def move(
        self, job: TrainingJob, move: Move, message: str = "", **changes: Unpack[JobChanges]
    ) -> TrainingJob:
        """Take one step of the state machine and store `changes` with it.

        A job that was asked to go on while it was still pausing is queued again as soon as it is paused.
        Raises Precondition (STATE_INVALID).
        """
        after = self._entered(replace(job, **changes), transition(job.state, move))
        after = self._stored(job, after)
        self._tell(job.state, after, message)
        asked_to_go_on = job.state is JobState.PAUSING and job.desired is Desired.RUN
        if asked_to_go_on and after.state is JobState.PAUSED:
            return self.move(after, Move.RESUME, "resumed while it was pausing")
        return after

    def update(self, job: TrainingJob, **changes: Unpack[JobChanges]) -> TrainingJob:
        """Store changed fields; the etag changes with them."""
        return self._stored(job, replace(job, **changes))

    def note(self, job: TrainingJob, **changes: Unpack[JobChanges]) -> TrainingJob:
        """Store progress or numbers: what changes all the time and leaves the etag alone."""
        after = replace(job, **changes, update_time=self._clock.now())
        self._store.save(job, after)
        return after

    def extend(self, job: TrainingJob, lease_expire_time: float) -> TrainingJob:
        """Let the lease of a job run longer; nobody but its worker sees a change."""
        after = replace(job, lease_expire_time=lease_expire_time)
        self._store.save(job, after)
        return after

    def _stored(self, before: TrainingJob, after: TrainingJob) -> TrainingJob:
        if after == before:
            return before
        changed = replace(after, revision=before.revision + 1, update_time=self._clock.now())
        self._store.save(before, changed)
        return changed

    def _entered(self, job: TrainingJob, state: JobState) -> TrainingJob:
        """Return the job in its new state with everything that follows from it."""
        if state is job.state:
            return job
        now = self._clock.now()
        after = replace(job, state=state)
        if job.running_since is not None:
            spent = job.training_seconds + max(0.0, now - job.running_since)
            after = replace(after, training_seconds=spent, running_since=None)
        if state is JobState.RUNNING:
            after = replace(after, running_since=now, start_time=job.start_time or now)
        if state is JobState.QUEUED:
            after = replace(after, finish_time=None)
        if state in FINAL_STATES:
            after = replace(after, finish_time=now)
        if state not in HELD_STATES:
            after = replace(after, lease_expire_time=None)
        return after

    def _tell(self, before: JobState, after: TrainingJob, message: str) -> None:
        if after.state is not before:
            change = StateChange.because(before.value, after.state.value, message)
            self._log.append(after.name, after.attempt, [NewEvent(change)])
        if after.state is JobState.QUEUED:
            self._log.wake(WORK_TOPIC)
        if after.worker:
            self._log.wake(f"workers/{after.worker}")


def not_found(job: str) -> NotFound:
    """Return the error for a job that is absent, by its id."""
    return access.job_not_found(f"trainingJobs/{job}")
