"""The trainer's process: it obeys signals at any time, and never outlives the one who started it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from helpers import training
from helpers.eventually import eventually
from helpers.runners import alive
from ingot.worker import folders, launch
from ingot.worker.launch import Trainer
from ingot.worker.problem import TrainingError
from ingot.worker.progress import Checkpoint, Event, Outcome, Progress, Report

pytestmark = pytest.mark.slow

FOREVER = {"max_steps": 100_000, "epochs": 1_000_000, "save_total_limit": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.write_jsonl(tmp_path_factory.mktemp("dataset"), training.conversations(100))


def at_step(trainer: Trainer, step: int, act: str) -> list[Event]:
    """Do something to a trainer at the first report from a step on; return all events."""
    done: list[int] = []

    def on(report: Report) -> None:
        if isinstance(report.event, Progress) and report.event.step >= step and not done:
            done.append(report.event.step)
            getattr(trainer, act)()

    events = training.finish(trainer, on)
    assert done
    return events


@pytest.mark.long
def test_pause_saves_at_the_step_edge_and_resume_goes_on(dataset: Path, tmp_path: Path) -> None:
    spec = training.make_spec(dataset, tmp_path, training.tiny(dropout=0.1, **FOREVER))
    trainer = training.start(spec)
    events = at_step(trainer, 5, "pause")
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert outcome.outcome == "paused"
    (saved,) = training.of(Checkpoint, events)
    assert (saved.checkpoint_kind, saved.step) == ("pause", outcome.step)
    assert saved.size_bytes == folders.size_of(Path(saved.folder)) > 100_000
    assert outcome.step <= max(training.losses(events)) + 1
    assert not trainer.alive()
    assert not alive(trainer.pids[0])

    again = at_step(training.start(spec), outcome.step + 3, "cancel")
    assert min(training.losses(again)) == outcome.step + 1
    assert isinstance(again[-1], Outcome)
    assert again[-1].outcome == "cancelled"
    assert not training.of(Checkpoint, again), "a cancel saves nothing"


@pytest.mark.contract("S0-52")
def test_it_outlives_its_starters_thread_saves_when_told_and_leaves_its_words_when_killed(
    dataset: Path, tmp_path: Path
) -> None:
    """PDEATHSIG follows the thread that forked; a trainer must not die with a worker thread of the agent."""
    spec = training.make_spec(dataset, tmp_path, training.tiny(**FOREVER))
    started: list[Trainer] = []
    thread = threading.Thread(target=lambda: started.append(training.start(spec)))
    thread.start()
    thread.join()
    (trainer,) = started
    asked: list[int] = []
    saved: list[Checkpoint] = []

    def on(report: Report) -> None:
        if isinstance(report.event, Checkpoint):
            saved.append(report.event)
        if not isinstance(report.event, Progress):
            return
        if report.event.step >= 3 and not asked:
            asked.append(report.event.step)
            trainer.save()
        if saved and report.event.step > saved[0].step:  # it goes on
            os.kill(trainer.pids[0], signal.SIGQUIT)
            eventually(lambda: "train.py" in trainer.stderr_tail())
            trainer.kill()

    events = training.finish(trainer, on)
    assert [event.checkpoint_kind for event in saved] == ["periodic"]
    assert not training.of(Outcome, events)
    assert trainer.wait(60) == [-signal.SIGKILL]
    assert "File " in trainer.stderr_tail(), "SIGQUIT wrote where every thread stood"


@pytest.mark.parametrize(
    ("act", "outcome"), [pytest.param("pause", "paused", marks=pytest.mark.long), ("cancel", "cancelled")]
)
def test_a_signal_sent_at_once_is_not_lost(dataset: Path, tmp_path: Path, act: str, outcome: str) -> None:
    """The process has not even started Python when the signal is sent; it must wait, not kill."""
    trainer = training.start(training.make_spec(dataset, tmp_path, training.tiny(**FOREVER)))
    getattr(trainer, act)()
    events = training.finish(trainer)
    assert isinstance(events[-1], Outcome)
    assert events[-1].outcome == outcome
    assert not training.of(Progress, events)


STARTER = """
import sys, threading
from pathlib import Path
from ingot.worker import launch

def begin():
    trainer = launch.start(Path(sys.argv[1]), Path(sys.argv[2]), 1)
    for report in trainer.events():
        print(trainer.pids[0], report.event.kind, flush=True)

thread = threading.Thread(target=lambda: begin())
thread.start()
thread.join()
"""


@pytest.mark.long  # tests/e2e/test_training_kills.py kills the whole agent
def test_killing_the_agent_ends_the_trainer(dataset: Path, tmp_path: Path) -> None:
    spec = training.make_spec(dataset, tmp_path / "w", training.tiny(**FOREVER))
    spec.work_folder.mkdir()
    path = spec.work_folder / "spec.json"
    spec.save(path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", STARTER, str(path), str(tmp_path / "logs")]
    agent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    with agent, agent.stdout as lines:
        pid = next(int(line.split()[0]) for line in lines if "progress" in line)
        assert alive(pid)
        agent.send_signal(signal.SIGKILL)
        eventually(lambda: not alive(pid))


def test_more_ranks_than_one_are_refused(tmp_path: Path) -> None:
    import dataclasses

    spec = dataclasses.replace(training.make_spec(tmp_path, tmp_path, training.tiny()), ranks=2)
    spec.save(tmp_path / "spec.json")
    with pytest.raises(TrainingError, match="one process per job"):
        launch.start(tmp_path / "spec.json", tmp_path / "logs")
