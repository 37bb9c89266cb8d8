"""The agent's side of a trainer that is a few lines of Python: what stays when something goes wrong."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingot.client import Client, Unreachable
from ingot.client._push import PushResult
from ingot.client._workers import Workers
from ingot.v1 import training_pb2, workers_pb2
from ingot.worker import launch, progress
from ingot.worker.progress import Checkpoint, Event, Outcome, Result
from ingot.worker.training_run import TrainingRun
from ingot.worker.trees import Trees

JOB = "trainingJobs/job_1"
# Writes the frames that it is given, then ends, or stays until it is killed.
TRAINER = """
import os, sys, time
os.write(int(os.environ["INGOT_EVENTS_FD"]), bytes.fromhex(sys.argv[1]))
time.sleep(1000 if sys.argv[2] == "stay" else 0)
"""


class Away(Workers):
    """The calls of a worker while the server is away."""

    def __init__(self) -> None:
        pass

    def report(self, *rest: object, **more: object) -> workers_pb2.ReportEventsResponse:
        raise Unreachable("gone")

    def finish(self, *rest: object, **more: object) -> workers_pb2.FinishWorkResponse:
        raise Unreachable("gone")


class ServerAway(Client):
    """A client whose server is away."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:1", "token", namespace="sara", user="")
        vars(self)["workers"] = Away()

    def push_result(self, *rest: object, **more: object) -> PushResult:
        raise Unreachable("gone")


class Rig:
    """One run whose trainer says these events."""

    def __init__(self, root: Path, events: Sequence[Event], *, stays: bool = False) -> None:
        self.root = root
        self.trainers: list[launch.Trainer] = []
        self.release = False  # while the trainer is at work
        self._events, self._stays = events, stays
        job = training_pb2.TrainingJob(
            name=JOB, dataset_version="namespaces/sara/datasets/chat/versions/1", dataset_digest="blake3:00"
        )
        assignment = workers_pb2.Assignment(
            name=JOB, attempt=1, training=workers_pb2.TrainingAssignment(training_job=job)
        )
        trees = Trees(root / "trees", lambda tree, folder, progress: folder.mkdir())
        self.run = TrainingRun(
            ServerAway(), "workers/worker_1", assignment, root, trees, start=self._start, leaving_seconds=-1.0
        )

    def _start(self, spec: Path, logs: Path) -> launch.Trainer:
        logs.mkdir(parents=True)
        frames = b"".join(
            progress.encode_frame({"seq": seq, "time": 1.0, "kind": each.kind, **_fields(each)})
            for seq, each in enumerate(self._events, 1)
        )
        read_end, write_end = os.pipe()
        command = [sys.executable, "-c", TRAINER, frames.hex(), "stay" if self._stays else "end"]
        process = launch.spawn(command, {}, logs / "rank-0.log", write_end)
        os.close(write_end)
        self.trainers.append(launch.Trainer([process], os.fdopen(read_end, "rb"), [logs / "rank-0.log"]))
        if self.release:
            self.run.release()
        return self.trainers[-1]


def _fields(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


def test_what_was_trained_stays_when_its_worker_leaves_before_the_server_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    export = tmp_path / "jobs" / "job_1" / "work" / "export" / "step-00000005"
    rig = Rig(tmp_path, [Result(str(export), 5, 10), Outcome("succeeded", 5)])
    export.mkdir(parents=True)
    rig.release = True
    rig.run.run()
    assert export.is_dir()
    assert "job.finished" not in caplog.text
    assert "job.not_told" in caplog.text


def test_a_failure_of_the_agent_leaves_no_trainer_behind(tmp_path: Path) -> None:
    nowhere = tmp_path / "gone" / "step-00000005"
    rig = Rig(tmp_path, [Checkpoint(5, str(nowhere), "periodic", 1.0, 1)], stays=True)
    rig.release = True
    rig.run.run()
    (trainer,) = rig.trainers
    assert not trainer.alive()
