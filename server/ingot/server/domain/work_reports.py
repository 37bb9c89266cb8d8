"""What workers tell about work they have: events as they happen, and in the end how it went.

Both are fenced by attempt and safe to repeat: an event is known by its producer number, an end by its
outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.errors import NotFound, Precondition, Problem, Reason, invalid_field
from ingot.server.core.events import Event, Metrics, NewEvent, Progress
from ingot.server.core.generation import GenerationDone
from ingot.server.core.identity import Caller
from ingot.server.core.training import (
    JobState,
    Move,
    ResumeCertificate,
    TrainingJob,
    transition,
)
from ingot.server.core.training_stores import MetricStore
from ingot.server.core.workers import (
    ReportedEvent,
    TextPiece,
    Worker,
    WorkOrder,
    WorkOutcome,
)
from ingot.server.domain import generation, report_checks
from ingot.server.domain.attempts import Attempts
from ingot.server.domain.events import EventLog
from ingot.server.domain.generation import Generations
from ingot.server.domain.jobs import JobChanges, Jobs
from ingot.server.domain.workers import Workers, order_of


@dataclass(frozen=True, slots=True)
class Receipt:
    """Answer to a report: the last number in the log of the work, and what it is asked to do now."""

    latest_seq: int
    order: WorkOrder


@dataclass(frozen=True, slots=True)
class Ending:
    """How claimed work ended, as its worker tells it."""

    outcome: WorkOutcome
    problem: Problem | None = None
    retry: bool = False
    generation: GenerationDone | None = None


class WorkReports:
    """Takes reports of workers. Methods run inside a write."""

    def __init__(
        self,
        workers: Workers,
        attempts: Attempts,
        jobs: Jobs,
        log: EventLog,
        metrics: MetricStore,
        generations: Generations,
    ) -> None:
        self._workers = workers
        self._attempts = attempts
        self._jobs = jobs
        self._log = log
        self._metrics = metrics
        self._generations = generations

    def report(
        self, caller: Caller, worker: str, name: str, attempt: int, events: Sequence[ReportedEvent]
    ) -> Receipt:
        """Store a batch of events; those seen before in the same attempt are skipped.

        Raises Invalid (FIELD_INVALID, BAD_LENGTH), NotFound (WORKER_NOT_FOUND, TRAINING_JOB_NOT_FOUND,
        GENERATION_NOT_FOUND), Precondition (ATTEMPT_OUTDATED).
        """
        report_checks.check(events, text=name.startswith(generation.PREFIX))
        found = self._workers.own(caller, worker)
        if name.startswith(generation.PREFIX):
            pieces = [
                (each.producer_seq, each.body.text) for each in events if isinstance(each.body, TextPiece)
            ]
            order = self._generations.report(found, name, attempt, pieces)
            return Receipt(max((seq for seq, _ in pieces), default=0), order)
        job = self._attempts.fenced(found, name, attempt)
        job = self._stored(job, events)
        return Receipt(self._log.bounds(job.name).latest, order_of(job))

    def finish(
        self, caller: Caller, worker: str, name: str, attempt: int, ending: Ending
    ) -> TrainingJob | None:
        """End claimed work and give up its lease; return the job as it is now, None for a generation.

        Raises as `report`, and Precondition (STATE_INVALID) for a success without a committed result, or an
        end that nobody asked for.
        """
        found = self._workers.own(caller, worker)
        if name.startswith(generation.PREFIX):
            self._finish_generation(found, name, attempt, ending)
            return None
        job = self._attempts.find(name)
        repeated = job.worker == found.id and job.attempt == attempt and job.last_outcome == ending.outcome
        if repeated:
            return job
        return self._ended(self._attempts.fenced(found, name, attempt), ending)

    def _stored(self, job: TrainingJob, events: Sequence[ReportedEvent]) -> TrainingJob:
        """Apply a batch in order: states move the job, everything else goes into its log."""
        measured = {each.producer_seq: each.time for each in events}
        run: list[NewEvent] = []
        for each in events:
            body = each.body
            if isinstance(body, JobState):
                job = self._appended(job, run, measured)
                run = []
                if body is JobState.RUNNING and transition(job.state, Move.RUN) is not job.state:
                    job = self._jobs.move(job, Move.RUN, "training has begun")
            elif isinstance(body, ResumeCertificate):
                job = self._jobs.update(job, certificate=body)
            elif not isinstance(body, TextPiece):
                run.append(NewEvent(body, each.producer_seq))
        return self._appended(job, run, measured)

    def _appended(
        self, job: TrainingJob, events: Sequence[NewEvent], measured: dict[int, float]
    ) -> TrainingJob:
        new = self._log.append(job.name, job.attempt, events)
        changes = self._numbers(job, new, measured)
        return self._jobs.note(job, **changes) if changes else job

    def _numbers(self, job: TrainingJob, new: Sequence[Event], measured: dict[int, float]) -> JobChanges:
        """Keep the newest progress and numbers with the job, and every number in its series."""
        changes: JobChanges = {}
        latest = job.latest_metrics
        for event in new:
            if isinstance(event.body, Progress):
                changes["progress"] = event.body
            elif isinstance(event.body, Metrics):
                self._metrics.record(job.name, event.body, measured[event.producer_seq])
                before = latest.values if latest else {}
                epoch = event.body.epoch or (latest.epoch if latest else 0.0)  # evaluations tell none
                latest = Metrics(event.body.step, epoch, {**before, **event.body.values})
                changes["latest_metrics"] = latest
        return changes

    def _ended(self, job: TrainingJob, ending: Ending) -> TrainingJob:
        changes: JobChanges = {"last_outcome": ending.outcome}
        match ending.outcome:
            case WorkOutcome.SUCCEEDED:
                if not job.output_version:
                    raise _no_result(job)
                return self._jobs.move(job, Move.SUCCEED, job.output_version, **changes)
            case WorkOutcome.PAUSED:
                if ending.problem is not None:
                    changes["problem"] = self._attempts.explained(job, ending.problem)
                return self._jobs.move(job, Move.SAVED, _message(ending), **changes)
            case WorkOutcome.CANCELLED:
                return self._jobs.move(job, Move.STOPPED, "stopped as asked", **changes)
            case WorkOutcome.RELEASED:
                return self._attempts.release(job, "given back by its worker")
            case WorkOutcome.FAILED:
                return self._failed(job, ending)

    def _failed(self, job: TrainingJob, ending: Ending) -> TrainingJob:
        if ending.problem is None:
            raise invalid_field("problem", "expected why the work failed, got nothing")
        if ending.retry:
            return self._attempts.lose(job, ending.problem, WorkOutcome.FAILED)
        changes: JobChanges = {
            "last_outcome": WorkOutcome.FAILED,
            "problem": self._attempts.explained(job, ending.problem),
        }
        return self._jobs.move(job, Move.FAIL, ending.problem.message, **changes)

    def _finish_generation(self, worker: Worker, name: str, attempt: int, ending: Ending) -> None:
        try:
            if ending.outcome is WorkOutcome.RELEASED:
                self._generations.give_back(worker, name, attempt)
            elif ending.outcome is WorkOutcome.FAILED:
                if ending.problem is None:
                    raise invalid_field("problem", "expected why the work failed, got nothing")
                self._generations.fail(worker, name, attempt, ending.problem, retry=ending.retry)
            else:
                done = ending.generation or GenerationDone("cancelled", 0, 0)
                self._generations.finish(worker, name, attempt, done)
        except NotFound as error:
            if error.reason is not Reason.GENERATION_NOT_FOUND:
                raise
            # The call that wanted it is over, so how it ended concerns nobody: a repeated end is harmless.


def _message(ending: Ending) -> str:
    return ending.problem.message if ending.problem else "saved as asked"


def _no_result(job: TrainingJob) -> Precondition:
    return Precondition(
        Reason.STATE_INVALID,
        f"{job.name} has no result yet: expected a committed version of {job.output_artifact}.",
        next_step="Commit the result as an upload that names this job and attempt, then finish.",
        facts={"name": job.name},
    )
