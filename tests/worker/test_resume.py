"""A trainer that is killed goes on as if it had not been: the same losses to the last bit."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from helpers import training
from ingot.worker import folders
from ingot.worker.config import DeepSpeedOptions, TrainerSpec, TrainingConfig
from ingot.worker.launch import Trainer
from ingot.worker.progress import Checkpoint, Event, Outcome, Progress, Report

pytestmark = pytest.mark.slow

STEPS = 36


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.write_jsonl(tmp_path_factory.mktemp("dataset"), training.conversations(85))


def config(**changes: object) -> TrainingConfig:
    """Dropout on, and about three epochs, so that a kill falls on either side of an epoch's edge."""
    return training.tiny(dropout=0.2, max_steps=STEPS, epochs=50, save_steps=5, eval_steps=7, **changes)


def killed_at(step: int, spec: TrainerSpec) -> list[Event]:
    """Start the trainer as the agent does and kill -9 it when it reports a step."""
    trainer = training.start(spec)

    def kill(report: Report) -> None:
        if isinstance(report.event, Progress) and report.event.step == step:
            os.kill(trainer.pids[0], signal.SIGKILL)

    events = training.finish(trainer, kill)
    assert not training.of(Outcome, events)
    return events


@pytest.mark.parametrize(
    ("stage", "mixed_precision"),
    [
        pytest.param(1, False, id="z1"),
        pytest.param(1, True, id="z1-bf16", marks=pytest.mark.long),
        pytest.param(2, False, id="z2", marks=pytest.mark.long),
        pytest.param(3, False, id="z3", marks=pytest.mark.long),
    ],
)
@pytest.mark.contract("S0-52", "S0-91")
def test_killed_run_continues_bit_by_bit(
    dataset: Path, tmp_path: Path, stage: int, mixed_precision: bool
) -> None:
    options = DeepSpeedOptions(zero_stage=stage)
    wanted = config(mixed_precision=mixed_precision)
    whole, events = training.run(training.make_spec(dataset, tmp_path / "whole", wanted, deepspeed=options))
    assert whole.outcome == "succeeded", whole.problem
    expected = training.losses(events)
    steps = [event for event in events if isinstance(event, Progress)]
    assert len(expected) == STEPS

    spec = training.make_spec(dataset, tmp_path / "cut", wanted, deepspeed=options)
    step = random.Random().randint(8, STEPS - 14)  # so many follow that none of them is the last
    before = training.losses(killed_at(step, spec))
    outcome, events = training.run(spec)
    after = training.losses(events)

    assert outcome.outcome == "succeeded", outcome.problem
    assert step in before
    assert 0 < min(after) <= max(before) + 1, f"killed at {step}, went on at {min(after)}"
    assert min(after) > 5, "it began again instead of resuming"
    assert before == {number: expected[number] for number in before}
    assert after == {number: expected[number] for number in after}
    assert max(after) == STEPS
    resumed_at = next(event.epoch for event in steps if event.step == min(after))
    assert int(resumed_at) < int(steps[-1].epoch), "no edge of an epoch lay behind the kill"


def test_without_the_saved_generators_the_losses_differ(dataset: Path, tmp_path: Path) -> None:
    """The control: with other random numbers, and nothing else changed, equality must be gone."""
    import torch

    spec = training.make_spec(dataset, tmp_path / "work", config())
    whole, events = training.run(spec)
    assert whole.outcome == "succeeded", whole.problem
    expected = training.losses(events)
    root = spec.work_folder / "ckpt"
    cut = next(folder for folder in folders.checkpoints(root) if folders.step_of(folder) == 30)
    shutil.copytree(cut, tmp_path / "honest" / cut.name)
    altered = tmp_path / "altered" / f"{cut.name}.part"
    shutil.copytree(cut, altered)
    (altered / folders.MANIFEST).unlink()
    state = torch.load(altered / "rng_0.pt", weights_only=False)
    state["torch"] = torch.Generator().manual_seed(7).get_state()
    torch.save(state, altered / "rng_0.pt")
    folders.commit(altered)

    found = {}
    for name in ("honest", "altered"):
        resume = tmp_path / name / cut.name
        again = training.make_spec(dataset, tmp_path / f"{name}-work", config(), resume=resume)
        outcome, events = training.run(again)
        assert outcome.outcome == "succeeded", outcome.problem
        found[name] = training.losses(events)
    assert min(found["honest"]) == 31
    assert found["honest"] == {step: expected[step] for step in range(31, STEPS + 1)}
    assert all(found["altered"][step] != expected[step] for step in range(31, STEPS + 1))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_many_kills_while_saving_each_step(dataset: Path, tmp_path: Path) -> None:
    wanted = training.tiny(dropout=0.1, max_steps=60, epochs=50, save_steps=1, save_total_limit=2)
    whole, events = training.run(training.make_spec(dataset, tmp_path / "whole", wanted))
    assert whole.outcome == "succeeded", whole.problem
    expected = training.losses(events)
    spec = training.make_spec(dataset, tmp_path / "cut", wanted)
    draw = random.Random()
    seen: dict[int, str] = {}
    for upper in (20, 40):
        trainer = training.start(spec)
        at = draw.randint(upper - 15, upper)
        after_save = draw.random() < 0.5

        def kill(
            report: Report, trainer: Trainer = trainer, at: int = at, after_save: bool = after_save
        ) -> None:
            kind = Checkpoint if after_save else Progress
            if isinstance(report.event, kind) and report.event.step >= at:
                trainer.kill()

        events = training.finish(trainer, kill)
        steps = training.losses(events)
        seen |= steps
        assert steps == {step: expected[step] for step in steps}
        newest = folders.latest(spec.work_folder / "ckpt")
        assert newest is not None
        folders.verify(newest)
        assert folders.step_of(newest) >= at - 1
    outcome, events = training.run(spec)
    assert outcome.outcome == "succeeded", outcome.problem
    seen |= training.losses(events)
    assert seen == expected
    assert not list((spec.work_folder / "ckpt").glob("*.part"))


def test_a_changed_checkpoint_is_not_loaded(dataset: Path, tmp_path: Path) -> None:
    spec = training.make_spec(dataset, tmp_path / "work", training.tiny(max_steps=2))
    training.run(spec)
    newest = folders.latest(spec.work_folder / "ckpt")
    assert newest is not None
    state = newest / "rng_0.pt"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    outcome, _ = training.run(spec)
    assert outcome.problem is not None
    assert outcome.problem.reason == "DATA_LOSS"
    assert "rng_0.pt" in outcome.problem.message


def test_another_config_is_not_resumed(dataset: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    training.run(training.make_spec(dataset, work, training.tiny(max_steps=2)))
    outcome, _ = training.run(
        training.make_spec(dataset, work, training.tiny(max_steps=2, learning_rate=0.1))
    )
    assert outcome.problem is not None
    assert outcome.problem.reason == "CONFIG_CONTRADICTION"
    assert "learning_rate 0.003 → 0.1" in outcome.problem.message
    state = json.loads((work / "ckpt" / "step-00000002" / folders.STATE).read_text())
    assert state["step"] == 2
