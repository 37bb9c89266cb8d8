"""Claimed text generations: the model is pulled, a process writes, its text goes to the server as it comes.

The process of the last model stays for a few minutes, so that the next question is answered at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from ingot.client import Client, IngotError
from ingot.v1 import training_pb2, workers_pb2
from ingot.worker import assignments, generation
from ingot.worker.data import Turn
from ingot.worker.problem import Problem, TrainingError, failed
from ingot.worker.reports import Reports
from ingot.worker.trees import Trees

log = logging.getLogger(__name__)

WARM_SECONDS = 300.0  # an idle process is kept this long
_DEFAULTS = generation.Request("")
Start = Callable[[Path, Path, bool | None], generation.Generator]  # a model folder, a log, whether on a GPU


class WarmModel:
    """The process of the model that was asked last; one question at a time."""

    def __init__(
        self, trees: Trees, logs: Path, gpu: bool | None, *, start: Start = generation.start
    ) -> None:
        self._trees = trees
        self._logs = logs
        self._gpu = gpu
        self._start = start
        self._digest = ""
        self._held = ExitStack()
        self._running: tuple[generation.Generator, Iterator[generation.Answer]] | None = None
        self._last_use = 0.0

    def ready(
        self, version: str, digest: str, tell: Callable[[int, int], None]
    ) -> tuple[generation.Generator, Iterator[generation.Answer]]:
        """Return the process of a model and its answers, starting it when needed. Raises TrainingError."""
        self._last_use = time.monotonic()
        if self._running is not None and self._digest == digest and self._running[0].alive():
            return self._running
        self.close()
        folder = self._held.enter_context(self._trees.use(version, digest, tell))
        process = self._start(folder, self._logs / "generate.log", self._gpu)
        answers = process.answers()
        self._running, self._digest = (process, answers), digest
        first = next(answers, None)
        if isinstance(first, generation.Ready):
            return self._running
        tail = process.stderr_tail()[-1000:]
        self.close()
        if isinstance(first, generation.Refused):
            raise TrainingError(first.problem)
        message = "The generating process ended before the model was loaded."
        raise failed("TRAINER_FAILED", message, "Run ingot-worker check on that machine.", stderr=tail)

    def close_when_idle(self) -> None:
        """End the process when nobody asked for a while."""
        if self._running is not None and time.monotonic() - self._last_use > WARM_SECONDS:
            self.close()

    def close(self) -> None:
        """End the process and let go of its model."""
        if self._running is not None:
            self._running[0].close()
            self._running = None
        self._held.close()
        self._held = ExitStack()


class GenerationRun:
    """One claimed generation."""

    def __init__(
        self, client: Client, worker: str, assignment: workers_pb2.Assignment, model: WarmModel
    ) -> None:
        self.name = assignment.name
        self.attempt = assignment.attempt
        self._client = client
        self._worker = worker
        self._work = assignment.generation
        self._model = model
        self._reports = Reports(
            lambda events: client.workers.report(worker, self.name, self.attempt, events).order, self.obey
        )
        self._stopping = threading.Event()
        self._lost = False
        self._process: generation.Generator | None = None

    def run(self) -> None:
        """Answer and tell the server how it ended."""
        began = time.monotonic()
        outcome, problem, done = workers_pb2.WORK_OUTCOME_FAILED, None, None
        try:
            done = self._answer(began)
            stopped = done.finish_reason == "cancelled"
            outcome = workers_pb2.WORK_OUTCOME_CANCELLED if stopped else workers_pb2.WORK_OUTCOME_SUCCEEDED
        except TrainingError as error:
            problem = error.problem
        except IngotError as error:
            problem = assignments.problem_of(error)
        except Exception as error:
            log.exception("generation.broken name=%s", self.name)
            problem = Problem("TRAINER_FAILED", f"The worker's agent failed: {error}.", {}, "See its log.")
        self._reports.close(timeout=10.0)
        if self._lost:
            return
        wire = assignments.to_wire(problem) if problem else None
        try:
            self._client.workers.finish(
                self._worker, self.name, self.attempt, outcome, problem=wire, generation=done
            )
        except IngotError as error:
            log.warning("generation.finish_refused name=%s reason=%s", self.name, error.reason)

    def obey(self, order: workers_pb2.WorkOrder) -> None:
        """Stop when the server asks or nobody waits any more."""
        self._lost = self._lost or order.lost
        if order.lost or order.desired_state == training_pb2.DESIRED_STATE_CANCEL:
            self.release()

    def release(self) -> None:
        """Stop writing."""
        self._stopping.set()
        if self._process is not None:
            self._process.stop()

    def watch(self) -> None:
        """Nothing to watch: the server gives up on a generation that goes silent."""

    def _answer(self, began: float) -> training_pb2.GenerationDone:
        process, answers = self._model.ready(
            self._work.model_version, self._work.model_digest, lambda _done, _total: None
        )
        self._process = process
        with suppress(BrokenPipeError):  # it died before it read the question
            process.send(self._request())
            if self._stopping.is_set():
                process.stop()
            for answer in answers:
                if isinstance(answer, generation.Piece):
                    self._reports.add(workers_pb2.ReportedEvent(text=answer.text))
                elif isinstance(answer, generation.Refused):
                    raise TrainingError(answer.problem)
                elif isinstance(answer, generation.Done):
                    return self._done(answer, began)
        tail = process.stderr_tail()[-1000:]
        self._model.close()
        raise failed(
            "TRAINER_FAILED", "The generating process died while it wrote.", "Ask again.", stderr=tail
        )

    def _request(self) -> generation.Request:
        wire = self._work.request
        return generation.Request(
            id=self.name,
            prompt=wire.prompt,
            messages=tuple(Turn(turn.role, turn.content) for turn in wire.messages),
            max_tokens=wire.max_tokens if wire.HasField("max_tokens") else _DEFAULTS.max_tokens,
            temperature=wire.temperature if wire.HasField("temperature") else _DEFAULTS.temperature,
            top_p=wire.top_p if wire.HasField("top_p") else _DEFAULTS.top_p,
            seed=wire.seed if wire.HasField("seed") else None,
            stop=tuple(wire.stop),
        )

    def _done(self, answer: generation.Done, began: float) -> training_pb2.GenerationDone:
        done = training_pb2.GenerationDone(
            finish_reason="cancelled" if answer.reason == "stopped" else answer.reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.tokens,
            model_version=self._work.model_version,
            model_digest=self._work.model_digest,
        )
        done.duration.FromMicroseconds(int((time.monotonic() - began) * 1e6))
        return done
