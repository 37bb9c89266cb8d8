"""Checkpoints on their way to the server: whoever waits for them hears how it went, whatever went wrong."""

import dataclasses
from pathlib import Path

import pytest

from ingot.client import Client
from ingot.client._push import PushResult
from ingot.worker.checkpoint_pushes import CheckpointPushes
from ingot.worker.progress import Checkpoint

DONE = PushResult("trainingJobs/job_1/checkpoints/5", "blake3:00", 1, 1, 1, 0, 0.0)


class Pushing(Client):
    """A client whose pushes end as it is told, without a server."""

    def __init__(self, *ends: Exception | None) -> None:
        super().__init__("127.0.0.1:1", "token", namespace="sara", user="")
        self.steps: list[int] = []
        self._ends = list(ends)

    def push_checkpoint(self, training_job: str, step: int, *rest: object, **more: object) -> PushResult:
        self.steps.append(step)
        if (end := self._ends.pop(0)) is not None:
            raise end
        return dataclasses.replace(DONE)


def saved(root: Path, step: int, kind: str) -> Checkpoint:
    folder = root / f"step-{step:08d}"
    folder.mkdir()
    return Checkpoint(step, str(folder), kind, 1.0, 1)


def test_who_drains_hears_what_this_machine_failed_with(tmp_path: Path) -> None:
    warnings: list[str] = []
    client = Pushing(OSError(5, "Input/output error"))
    pushes = CheckpointPushes(client, "trainingJobs/job_1", 1, warnings.append, lambda: False)
    pushes.add(saved(tmp_path, 5, "final"))
    with pytest.raises(OSError, match="Input/output error"):
        pushes.drain()
    pushes.close()
    (warning,) = warnings
    assert "step 5" in warning
    assert "Input/output error" in warning
    assert not list(tmp_path.glob("*.hold"))


def test_a_periodic_one_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    client = Pushing(OSError(5, "Input/output error"), None)
    pushes = CheckpointPushes(client, "trainingJobs/job_1", 1, lambda text: None, lambda: False)
    pushes.add(saved(tmp_path, 5, "periodic"))
    pushes.drain()
    pushes.add(saved(tmp_path, 10, "final"))
    pushes.drain()
    pushes.close()
    assert client.steps == [5, 10]


def test_what_is_given_up_is_not_told_as_pushed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    client = Pushing()
    pushes = CheckpointPushes(client, "trainingJobs/job_1", 1, lambda text: None, lambda: True)
    pushes.add(saved(tmp_path, 5, "final"))
    pushes.drain()
    pushes.close()
    assert client.steps == []
    assert "checkpoint.pushed" not in caplog.text
