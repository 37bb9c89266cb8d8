"""One claimed training job, from its inputs to its result: the agent's side of the trainer.

`run` works in a thread of its own: pull dataset, base and checkpoint; write the spec; start the trainer; turn
its events into reports; push each checkpoint as soon as it is whole; push the result; finish. `obey` may be
called from any thread with what the server asks. Three more ends are watched for: a trainer that is silent
for too long, one that does not leave in time, and an attempt that the server gave to somebody else.
"""

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from ingot.client import Client, IngotError
from ingot.v1 import training_pb2, workers_pb2
from ingot.worker import assignments, folders, launch, progress, reporting
from ingot.worker.checkpoint_pushes import CheckpointPushes
from ingot.worker.config import TrainerSpec
from ingot.worker.problem import Problem, TrainingError
from ingot.worker.reports import Reports
from ingot.worker.trees import Trees

log = logging.getLogger(__name__)

LEAVING_SECONDS = 20.0  # a worker that leaves tries this long to reach a server that is away
CANCEL_GRACE = 30.0  # seconds from a cancel to the kill
PAUSE_GRACE = 600.0  # a pause saves first, which may be slow
SILENCE = 60.0  # seconds without an event, at least, before a training trainer counts as stalled
SILENT_STEPS = 20  # the same in median steps
QUIET_PHASE = 1800.0  # loading, saving and exporting report nothing while they last
STACKS_PAUSE = 1.0  # seconds for a stalled trainer to write its stacks
END_SECONDS = 10.0  # for the system to end a trainer that was killed

TRY_AGAIN = frozenset({"TRAINER_FAILED", "TRAINER_STALLED", "PEER_LOST"})  # reasons another attempt may cure

Desired = training_pb2.DesiredState
Start = Callable[[Path, Path], launch.Trainer]  # a spec file, and the folder for logs


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended and whether another one may do better."""

    outcome: workers_pb2.WorkOutcome.ValueType
    problem: Problem | None = None
    retry: bool = False


class TrainingRun:
    """One attempt of one training job on this machine."""

    def __init__(
        self,
        client: Client,
        worker: str,
        assignment: workers_pb2.Assignment,
        root: Path,
        trees: Trees,
        *,
        start: Start = launch.start,
        leaving_seconds: float = LEAVING_SECONDS,
    ) -> None:
        self.name = assignment.name
        self.attempt = assignment.attempt
        self._client = client
        self._worker = worker
        self._start = start
        self._leaving_seconds = leaving_seconds
        self._training = assignment.training
        self._job = assignment.training.training_job
        self._folder = root / "jobs" / self.name.removeprefix("trainingJobs/")
        self._trees = trees
        self._reports = Reports(
            lambda events: client.workers.report(worker, self.name, self.attempt, events).order, self.obey
        )
        self._pushes = CheckpointPushes(client, self.name, self.attempt, self.warn, self._hopeless)
        self._lock = threading.RLock()
        self._trainer: launch.Trainer | None = None
        self._desired: Desired.ValueType = Desired.DESIRED_STATE_RUN
        self._released = False
        self._give_up_at = float("inf")
        self._lost = False
        self._kill_at = float("inf")
        self._stalled = False
        self._last_event = time.monotonic()
        self._phase = "starting"
        self._step_seconds = 0.0
        self._outcome: progress.Outcome | None = None
        self._result: progress.Result | None = None

    def run(self) -> None:
        """Do the work and tell the server how it ended; returns when nothing of it runs any more."""
        try:
            ending = self._try()
        except TrainingError as error:
            ending = Ending(workers_pb2.WORK_OUTCOME_FAILED, error.problem)
        except IngotError as error:
            ending = Ending(
                workers_pb2.WORK_OUTCOME_FAILED, assignments.problem_of(error), assignments.passes(error)
            )
        except Exception as error:
            log.exception("job.broken name=%s attempt=%d", self.name, self.attempt)
            problem = Problem("TRAINER_FAILED", f"The worker's agent failed: {error}.", {}, "See its log.")
            ending = Ending(workers_pb2.WORK_OUTCOME_FAILED, problem, retry=True)
        finally:
            self._end_trainer()
            self._pushes.close()
        if not self._lost:
            self._reports.close(self._leaving_seconds)
        if self._lost:
            log.warning("job.lost name=%s attempt=%d", self.name, self.attempt)
            return
        self._finish(ending)

    def obey(self, order: workers_pb2.WorkOrder) -> None:
        """Do what the server asks of this attempt; asking again changes nothing."""
        if order.lost:
            self._lose()
        elif order.desired_state in (Desired.DESIRED_STATE_PAUSE, Desired.DESIRED_STATE_CANCEL):
            self._stop(order.desired_state)
        elif order.desired_state == Desired.DESIRED_STATE_SAVE and self._trainer is not None:
            self._trainer.save()

    def release(self) -> None:
        """Save and give the job back for another worker: this machine stops."""
        self._released = True
        self._stop(Desired.DESIRED_STATE_PAUSE)

    def _hopeless(self) -> bool:
        """Tell whether waiting for the server is over: the attempt is lost, or this worker leaves."""
        if self._released and self._give_up_at == float("inf"):
            self._give_up_at = time.monotonic() + self._leaving_seconds
        return self._lost or time.monotonic() > self._give_up_at

    def watch(self) -> None:
        """Kill a trainer that hangs or does not leave; called about once a second."""
        now = time.monotonic()
        with self._lock:
            trainer = self._trainer
            if trainer is None or self._outcome is not None:
                return
            if now > self._kill_at:
                log.warning("job.kill name=%s attempt=%d", self.name, self.attempt)
                trainer.kill()
            elif now - self._last_event > self._patience():
                self._stalled = True
                log.warning("job.stalled name=%s phase=%s", self.name, self._phase)
                trainer.dump_stacks()
                self._kill_at = now + STACKS_PAUSE

    def warn(self, text: str) -> None:
        """Put a warning of the agent into the job's log."""
        log.warning("job.warning name=%s text=%s", self.name, text)
        self._reports.add(reporting.log_line("warning", text, rank=reporting.AGENT))

    def _patience(self) -> float:
        if self._phase != "training":
            return QUIET_PHASE
        return max(SILENCE, SILENT_STEPS * self._step_seconds)

    def _stop(self, desired: training_pb2.DesiredState.ValueType) -> None:
        with self._lock:
            if self._desired in (desired, Desired.DESIRED_STATE_CANCEL):
                return
            self._desired = desired
            if self._trainer is not None:
                self._signal(self._trainer)

    def _signal(self, trainer: launch.Trainer) -> None:
        if self._desired == Desired.DESIRED_STATE_CANCEL:
            self._kill_at = time.monotonic() + CANCEL_GRACE
            trainer.cancel()
        elif self._desired == Desired.DESIRED_STATE_PAUSE:
            self._kill_at = time.monotonic() + PAUSE_GRACE
            trainer.pause()

    def _lose(self) -> None:
        with self._lock:
            self._lost = True
            self._pushes.abandon()
            if self._trainer is not None:
                self._trainer.kill()

    def _end_trainer(self) -> None:
        """Leave no trainer behind: after a failure of the agent itself it would go on, and nobody hear it."""
        with self._lock:
            trainer = self._trainer
        if trainer is not None and trainer.alive():
            trainer.kill()
            with suppress(TimeoutError):
                trainer.wait(END_SECONDS)

    def _try(self) -> Ending:
        self._reports.add(reporting.state(training_pb2.TRAINING_JOB_STATE_PREPARING))
        with ExitStack() as inputs:
            spec = self._prepare(inputs)
            if (early := self._asked_to_end()) is not None:
                return early
            path = self._folder / "spec.json"
            spec.save(path)
            with self._lock:
                self._trainer = trainer = self._start(path, self._folder / "logs")
                self._last_event = time.monotonic()
                self._signal(trainer)
            log.info("trainer.started name=%s pid=%s", self.name, trainer.pids[0])
            for report in trainer.events():
                self._hear(report)
            codes = trainer.wait()
        if self._lost:
            return Ending(workers_pb2.WORK_OUTCOME_UNSPECIFIED)
        self._pushes.drain()
        return self._judge(trainer, codes[0])

    def _prepare(self, inputs: ExitStack) -> TrainerSpec:
        job = self._job

        def fetch(tree: str, digest: str, what: str) -> Path:
            def tell(done: int, total: int) -> None:
                self._reports.add(reporting.fetching(what, done, total))

            return inputs.enter_context(self._trees.use(tree, digest, tell))

        self._folder.mkdir(parents=True, exist_ok=True)
        dataset = fetch(job.dataset_version, job.dataset_digest, "dataset")
        base = fetch(job.base_version, job.base_digest, "base model") if job.base_version else None
        resume = None
        if self._training.resume_checkpoint:
            pulled = fetch(self._training.resume_checkpoint, self._training.resume_digest, "checkpoint")
            resume = assignments.as_checkpoint(pulled, self._training.resume_checkpoint, self._folder)
        return assignments.spec_of(job, self.attempt, dataset, base, resume, self._folder / "work")

    def _hear(self, report: progress.Report) -> None:
        with self._lock:
            self._last_event = time.monotonic()
        event = report.event
        if isinstance(event, progress.Outcome):
            with self._lock:
                self._outcome = event
        elif isinstance(event, progress.Result):
            self._result = event
        elif isinstance(event, progress.Checkpoint):
            self._pushes.add(event)
        elif isinstance(event, progress.State):
            self._phase = event.phase
        elif isinstance(event, progress.Progress):
            self._step_seconds = event.step_seconds
        for wire in reporting.events_of(report, self.name, self._training.resume_digest):
            self._reports.add(wire)

    def _asked_to_end(self) -> Ending | None:
        """Return the end that was asked for before there was a trainer."""
        with self._lock:
            if self._lost:
                return Ending(workers_pb2.WORK_OUTCOME_UNSPECIFIED)
            if self._desired == Desired.DESIRED_STATE_CANCEL:
                return Ending(workers_pb2.WORK_OUTCOME_CANCELLED)
            if self._desired == Desired.DESIRED_STATE_PAUSE:
                return self._paused(None)
        return None

    def _judge(self, trainer: launch.Trainer, code: int) -> Ending:
        """Turn the trainer's last word, or the lack of one, into an end."""
        outcome = self._outcome
        if outcome is None:
            return self._asked_to_end() or Ending(
                workers_pb2.WORK_OUTCOME_FAILED, self._cause(trainer, code), retry=True
            )
        if outcome.outcome == "succeeded":
            return self._publish()
        if outcome.outcome == "paused":
            return self._paused(outcome.problem)
        if outcome.outcome == "cancelled":
            return Ending(workers_pb2.WORK_OUTCOME_CANCELLED)
        problem = outcome.problem or self._cause(trainer, code)
        return Ending(workers_pb2.WORK_OUTCOME_FAILED, problem, problem.reason in TRY_AGAIN)

    def _paused(self, problem: Problem | None) -> Ending:
        if self._released and problem is None:
            return Ending(workers_pb2.WORK_OUTCOME_RELEASED)
        return Ending(workers_pb2.WORK_OUTCOME_PAUSED, problem)

    def _cause(self, trainer: launch.Trainer, code: int) -> Problem:
        tail = trainer.stderr_tail().strip()
        facts = {"exit_code": str(code), "stderr": tail[-1500:]}
        if self._stalled:
            message = f"The trainer made no progress for {self._patience():.0f} s while {self._phase}."
            return Problem("TRAINER_STALLED", message, facts, "The stacks are at the end of its log.")
        if code == -signal.SIGKILL:
            message = "The trainer was killed (signal 9), perhaps because the machine ran out of memory."
            return Problem(
                "TRAINER_FAILED", message, facts, "Look at the machine's log, or lower batch_size."
            )
        return Problem(
            "TRAINER_FAILED",
            f"The trainer ended without a last word (exit code {code}).",
            facts,
            "Read the end of its log in the facts.",
        )

    def _publish(self) -> Ending:
        """Push the finished model; the server gives it its lineage from job and attempt."""
        if self._result is None:
            problem = Problem(
                "TRAINER_FAILED", "The trainer succeeded but left no model.", {}, "See its log."
            )
            return Ending(workers_pb2.WORK_OUTCOME_FAILED, problem, retry=True)
        result = self._result
        pushed = assignments.persist(
            lambda: self._client.push_result(
                self._job.output_artifact,
                Path(result.folder),
                training_job=self.name,
                attempt=self.attempt,
                performance_metrics=dict(result.metrics),
                metadata={"parameters": result.parameters, "steps": result.step},
                changelog=f"Trained by {self.name} on {self._job.dataset_version}.",
            ),
            stop=self._hopeless,
        )
        if pushed is None:  # this worker leaves first: what was trained stays here for the next attempt
            return Ending(workers_pb2.WORK_OUTCOME_RELEASED)
        return Ending(workers_pb2.WORK_OUTCOME_SUCCEEDED)

    def _finish(self, ending: Ending) -> None:
        problem = assignments.to_wire(ending.problem) if ending.problem else None
        try:
            told = assignments.persist(
                lambda: self._client.workers.finish(
                    self._worker, self.name, self.attempt, ending.outcome, problem=problem, retry=ending.retry
                ),
                stop=self._hopeless,
            )
        except IngotError as error:
            log.warning("job.finish_refused name=%s reason=%s", self.name, error.reason)
            return
        if told is None:
            log.warning("job.not_told name=%s attempt=%d", self.name, self.attempt)
            return
        log.info(
            "job.finished name=%s attempt=%d outcome=%s",
            self.name,
            self.attempt,
            workers_pb2.WorkOutcome.Name(ending.outcome),
        )
        if ending.outcome in (workers_pb2.WORK_OUTCOME_SUCCEEDED, workers_pb2.WORK_OUTCOME_CANCELLED):
            shutil.rmtree(self._folder, ignore_errors=True)
        folders.sweep(self._folder / "work" / "ckpt")
