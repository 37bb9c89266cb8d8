"""Following a job: what breaks on the way is told on a line of its own, and once."""

import io
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from ingot.client import Client, IngotError, NotFound, Unreachable
from ingot.client.cli import watching
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell
from ingot.v1 import common_pb2
from ingot.v1 import training_pb2 as pb


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_ends_a_watch_is_told_below_the_line_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def watch(
        name: str, *, after: int, on_break: Callable[[IngotError], None]
    ) -> Iterator[pb.WatchTrainingJobResponse]:
        running = pb.TrainingJob(name=name, state=pb.TRAINING_JOB_STATE_RUNNING)
        running.progress.CopyFrom(common_pb2.Progress(phase="training", done=3, total=9, unit="steps"))
        on_break(Unreachable("Nobody answers."))
        on_break(Unreachable("Nobody answers."))
        yield pb.WatchTrainingJobResponse(snapshot=running)
        yield pb.WatchTrainingJobResponse(synced=common_pb2.Synced())
        raise NotFound("The job is gone.")

    data, notes = io.StringIO(), _Terminal()
    client = SimpleNamespace(training=SimpleNamespace(watch=watch))
    shell = Shell(Output(data, notes), {}, _client=cast(Client, client))
    with pytest.raises(NotFound):
        watching.follow(shell, "trainingJobs/job_1", 0, lambda number: None)
    assert notes.getvalue().count("Nobody answers. Trying again.\n") == 1
    assert "step 3/9" in notes.getvalue()
    assert notes.getvalue().endswith("\r\x1b[K")
