"""Questions to a warm model, whose process is a few lines of Python that answer all of them alike."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.eventually import eventually
from helpers.runners import alive
from ingot.client import Client
from ingot.client._workers import Workers
from ingot.v1 import training_pb2, workers_pb2
from ingot.worker import generation, launch
from ingot.worker.generation_run import GenerationRun, WarmModel
from ingot.worker.trees import Trees

WRITER = """
import os, sys
from ingot.worker import generation, progress
events = int(os.environ["INGOT_EVENTS_FD"])
progress.write_all(events, generation.encode(generation.Ready("cpu", 1, 0.0)))
for data in progress.read_frames(sys.stdin.buffer):
    asked = generation.decode_request(data)
    for answer in (generation.Piece(asked.id, "yes", 1), generation.Done(asked.id, "stop", 1, 1, 0.0)):
        progress.write_all(events, generation.encode(answer))
"""


class Listening(Workers):
    """A server that takes whatever a worker says."""

    def __init__(self) -> None:
        self.outcomes: list[workers_pb2.WorkOutcome.ValueType] = []

    def report(self, *rest: object, **more: object) -> workers_pb2.ReportEventsResponse:
        return workers_pb2.ReportEventsResponse()

    def finish(
        self,
        worker: str,
        name: str,
        attempt: int,
        outcome: workers_pb2.WorkOutcome.ValueType,
        *rest: object,
        **more: object,
    ) -> workers_pb2.FinishWorkResponse:
        self.outcomes.append(outcome)
        return workers_pb2.FinishWorkResponse()


class Rig:
    """A warm model, and questions to it."""

    def __init__(self, root: Path, client: Client) -> None:
        self.workers = Listening()
        self.processes: list[generation.Generator] = []
        vars(client)["workers"] = self.workers
        self._client = client
        trees = Trees(root / "trees", lambda tree, folder, progress: folder.mkdir())
        self.model = WarmModel(trees, root / "logs", None, start=self._start)

    def ask(self) -> None:
        asked = workers_pb2.GenerationAssignment(
            model_version="namespaces/sara/models/tiny/versions/1",
            model_digest="blake3:00",
            request=training_pb2.GenerateTextRequest(prompt="Are you there?"),
        )
        assignment = workers_pb2.Assignment(name="generations/gen_1", attempt=1, generation=asked)
        GenerationRun(self._client, "workers/worker_1", assignment, self.model).run()

    def _start(self, folder: Path, log: Path, gpu: bool | None) -> generation.Generator:
        log.parent.mkdir(exist_ok=True)
        read_end, write_end = os.pipe()
        command = [sys.executable, "-c", WRITER]
        process = launch.spawn(command, {}, log, write_end, subprocess.PIPE)
        os.close(write_end)
        self.processes.append(generation.Generator(process, os.fdopen(read_end, "rb"), log))
        return self.processes[-1]


@pytest.fixture(name="rig")
def _rig(tmp_path: Path) -> Iterator[Rig]:
    with Client("127.0.0.1:1", "token", namespace="sara", user="") as client:
        rig = Rig(tmp_path, client)
        yield rig
        rig.model.close()


def test_the_process_of_a_model_answers_one_question_after_the_other(rig: Rig) -> None:
    rig.ask()
    rig.ask()
    assert rig.workers.outcomes == [workers_pb2.WORK_OUTCOME_SUCCEEDED] * 2
    assert len(rig.processes) == 1


def test_a_process_that_died_while_nobody_asked_is_started_again(rig: Rig) -> None:
    rig.ask()
    pid = rig.processes[0].pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid), what="the process is gone")
    rig.ask()
    assert rig.workers.outcomes == [workers_pb2.WORK_OUTCOME_SUCCEEDED] * 2
    assert len(rig.processes) == 2
