"""Attempts at a training job: who owns one, and what follows when one is lost.

A lost attempt (silent worker, failure worth trying again) puts the job back into the queue, the sooner the
rarer it happens. A job that loses attempt after attempt without one new checkpoint in between is given up, so
that a job which kills its workers does not go round for ever.
"""

from dataclasses import replace

from ingot.server.core.clock import Clock
from ingot.server.core.errors import Problem
from ingot.server.core.events import EventKind, LogLevel, NewEvent, WarningNote
from ingot.server.core.names import made_id
from ingot.server.core.training import HELD_STATES, JobState, Move, TrainingJob
from ingot.server.core.workers import Worker, WorkOutcome, WorkPolicy, outdated
from ingot.server.domain.events import EventLog
from ingot.server.domain.jobs import JobChanges, Jobs


class Attempts:
    """Rules about attempts. Methods run inside a write, `fenced` also inside a read."""

    def __init__(self, jobs: Jobs, log: EventLog, policy: WorkPolicy, clock: Clock) -> None:
        self._jobs = jobs
        self._log = log
        self._policy = policy
        self._clock = clock

    def find(self, name: str) -> TrainingJob:
        """Return the job a worker names. Raises Invalid (NAME_INVALID), NotFound (TRAINING_JOB_NOT_FOUND)."""
        return self._jobs.find(made_id(name, "trainingJobs"))

    def fenced(self, worker: Worker, name: str, attempt: int) -> TrainingJob:
        """Return a job that this worker has in this attempt.

        Raises NotFound (TRAINING_JOB_NOT_FOUND), Precondition (ATTEMPT_OUTDATED).
        """
        job = self.find(name)
        if not owns(worker, job, attempt):
            raise outdated(name, attempt)
        return job

    def lose(self, job: TrainingJob, problem: Problem, outcome: WorkOutcome | None = None) -> TrainingJob:
        """End an attempt that may be tried again: queue the job, or give it up after too many in a row.

        A job whose result is committed has succeeded, whatever became of its worker afterwards.
        """
        changes: JobChanges = {"last_outcome": outcome or WorkOutcome.RELEASED}
        if job.output_version and job.state in HELD_STATES:
            return self._jobs.move(job, Move.SUCCEED, "its worker was lost after the result", **changes)
        if job.state in (JobState.PAUSING, JobState.CANCELLING):
            return self._jobs.move(job, Move.LET_GO, problem.message, **changes)
        fruitless = job.fruitless + 1
        changes["fruitless"] = fruitless
        if fruitless > self._policy.max_retries:
            changes["problem"] = self.explained(job, _given_up(problem, fruitless))
            return self._jobs.move(job, Move.FAIL, problem.message, **changes)
        self._log.append(job.name, job.attempt, [NewEvent(WarningNote(problem.reason, problem.message))])
        changes["not_before"] = self._clock.now() + self._delay(fruitless)
        return self._jobs.move(job, Move.LET_GO, problem.message, **changes)

    def release(self, job: TrainingJob, message: str) -> TrainingJob:
        """Queue a job whose worker gave it back unharmed; no penalty, no delay."""
        return self._jobs.move(job, Move.LET_GO, message, last_outcome=WorkOutcome.RELEASED, not_before=0.0)

    def explained(self, job: TrainingJob, problem: Problem) -> Problem:
        """Return a problem with the ids of everything involved and the line of the log that tells it."""
        latest = self._log.bounds(job.name).latest
        errors = self._log.before_last(job.name, 1, min_level=LogLevel.ERROR)
        at = self._log.read(job.name, errors, 1, kind=EventKind.LOG, min_level=LogLevel.ERROR)
        facts = {
            **problem.facts,
            "training_job": job.name,
            "dataset_version": str(job.dataset.name),
            "base_version": str(job.base.name) if job.base else "",
            "worker": f"workers/{job.worker}" if job.worker else "",
            "attempt": str(job.attempt),
            "log_seq": str(at[0].seq if at else latest),
        }
        next_step = problem.next_step or (
            f"Read the log of {job.name} at seq {facts['log_seq']}, mend the cause, then resume the job."
        )
        return replace(problem, facts=facts, next_step=next_step, time=self._clock.now())

    def _delay(self, fruitless: int) -> float:
        """Return how long the next attempt waits: short at first, doubling with each loss."""
        doubled = self._policy.retry_seconds * 2.0 ** (fruitless - 1)
        return min(doubled, self._policy.longest_retry_seconds)


def owns(worker: Worker, job: TrainingJob, attempt: int) -> bool:
    """Return whether a worker has a job in this attempt now."""
    return job.worker == worker.id and job.attempt == attempt and job.state in HELD_STATES


def _given_up(problem: Problem, times: int) -> Problem:
    return replace(
        problem,
        message=f"{problem.message} Given up after {times} attempts without a new checkpoint.",
    )
