"""What a training run promises beside its result: right gradients, named failures, nothing compiled."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import training
from ingot.worker.config import DeepSpeedOptions, TrainerSpec
from ingot.worker.progress import Checkpoint, Log, Metrics, Outcome, Progress, Result, State

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.write_jsonl(tmp_path_factory.mktemp("dataset"), training.conversations(150))


@pytest.mark.contract("S0-77")
def test_accumulation_does_not_change_the_gradient(dataset: Path, tmp_path: Path) -> None:
    """One batch of 8, two of 4 and four of 2 are the same step, though answers differ in length."""
    found = []
    for parts in (1, 2, 4):
        config = training.tiny(batch_size=8 // parts, gradient_accumulation_steps=parts, max_steps=4)
        outcome, events = training.run(training.make_spec(dataset, tmp_path / str(parts), config))
        assert outcome.outcome == "succeeded", outcome.problem
        steps = [event for event in events if isinstance(event, Progress)]
        found.append([(step.loss, step.grad_norm) for step in steps])
    for other in found[1:]:
        for (loss, norm), (other_loss, other_norm) in zip(found[0], other, strict=True):
            assert other_loss == pytest.approx(loss, rel=1e-5)
            assert other_norm == pytest.approx(norm, rel=1e-4)


@pytest.mark.contract("S0-50", "S0-84")
def test_it_learns_below_the_frequency_of_tokens(dataset: Path, tmp_path: Path) -> None:
    config = training.tiny(max_steps=120, batch_size=8, epochs=100, learning_rate=1e-2, logging_steps=20)
    outcome, events = training.run(training.make_spec(dataset, tmp_path, config))
    assert outcome == Outcome("succeeded", 120)
    values = {
        name: value for event in events if isinstance(event, Metrics) for name, value in event.values.items()
    }
    assert values["val/loss"] < 0.6 * values["data/unigram_loss"]
    assert 0 < values["val/bits_per_byte"] < 3
    assert values["val/perplexity"] > 1
    last = training.of(Progress, events)[-1]
    assert last.step == last.total == 120
    assert last.eta_seconds == 0
    assert last.tokens == 120 * 8 * 32
    assert last.tokens_per_second > 0
    assert last.memory_bytes > 50_000_000
    assert last.smoothed_loss < 4
    phases = [event.phase for event in events if isinstance(event, State)]
    assert list(dict.fromkeys(phases)) == [
        "preparing",
        "loading",
        "training",
        "evaluating",
        "saving",
        "exporting",
    ]


def test_a_rate_far_too_high_ends_as_diverged(dataset: Path, tmp_path: Path) -> None:
    config = training.tiny(
        optimizer="sgd",
        learning_rate=100.0,
        max_grad_norm=0.0,
        max_steps=200,
        epochs=100,
        scheduler="constant",
    )
    outcome, events = training.run(training.make_spec(dataset, tmp_path, config))
    assert outcome.outcome == "failed"
    assert outcome.problem is not None
    assert outcome.problem.reason == "DIVERGED"
    assert outcome.problem.next_step.startswith("Lower learning_rate")
    last = training.of(Progress, events)[-1]
    assert last.skipped_steps >= 5
    assert not training.of(Result, events)


@pytest.mark.parametrize("mixed_precision", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("stage", [1, 3])
def test_one_nan_is_skipped_and_poisons_nothing(
    dataset: Path, tmp_path: Path, stage: int, mixed_precision: bool
) -> None:
    import numpy as np
    import torch

    from ingot.worker import model, optimize, packing, train
    from ingot.worker.tokens import Tokenizer

    config = training.tiny(mixed_precision=mixed_precision, gradient_accumulation_steps=1)
    spec = training.make_spec(dataset, tmp_path, config)
    prepared = packing.prepare(spec, 32, lambda done, total, unit: None)
    os.environ["DS_ACCELERATOR"] = "cpu"
    optimize.start_process_group("cpu")
    made = model.build(config, None, Tokenizer.from_pretrained(prepared.folder / "tokenizer"), 32)
    engine = optimize.engine(config, DeepSpeedOptions(zero_stage=stage), made)
    blocks = packing.Blocks(prepared, "train")
    batch = train.to_device(blocks.batch(np.arange(4)), torch.device("cpu"))
    learned = blocks.learned(np.arange(4))
    first, _ = train.one_step(engine, [batch], learned, 1e-2)
    engine.backward(engine(*batch, learned) * float("nan"), scale_wrt_gas=False)
    engine.step()
    assert engine.skipped_steps == 1
    after = [train.one_step(engine, [batch], learned, 1e-2)[0] for _ in range(4)]
    assert engine.skipped_steps == 1
    assert after[-1] < first
    engine.destroy()


def test_a_model_too_large_is_refused_before_it_is_made(dataset: Path, tmp_path: Path) -> None:
    config = training.tiny(hidden_size=65536, num_layers=500, num_heads=64)
    outcome, _ = training.run(training.make_spec(dataset, tmp_path, config))
    assert outcome.problem is not None
    assert outcome.problem.reason == "OUT_OF_MEMORY"
    assert "GB to train" in outcome.problem.message
    assert int(outcome.problem.facts["parameters"]) > 10**12


@pytest.mark.long
def test_a_batch_too_large_is_called_by_its_name(dataset: Path, tmp_path: Path) -> None:
    """The process may take half a gigabyte more than it has before its first batch."""
    spec = training.make_spec(dataset, tmp_path / "w", training.tiny(batch_size=50_000, epochs=10_000))
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import psutil\n"
        "from helpers import training\n"
        "from ingot.worker import attempt, launch, train\n"
        "size = psutil.Process().memory_info().vms + (1 << 29)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "sys.stderr.write(repr(attempt.run(Path(sys.argv[1]), training.Recorder(), launch.Control())))\n"
    )
    words = run_code(code, spec)
    assert "OUT_OF_MEMORY" in words, words[-2000:]
    assert "Lower batch_size" in words


def run_code(code: str, spec: TrainerSpec) -> str:
    """Run a piece of Python on a spec in a process of its own; return what it wrote to stderr."""
    spec.work_folder.mkdir()
    path = spec.work_folder / "spec.json"
    spec.save(path)
    more = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, "-c", code, str(path)]
    environment = {**os.environ, **more}
    return subprocess.run(
        command, env=environment, capture_output=True, timeout=100, check=False, text=True
    ).stderr


def test_nothing_is_trained_on_bad_data(tmp_path: Path) -> None:
    folder = training.write_jsonl(tmp_path / "d", [*training.conversations(30), {"messages": "none"}])
    outcome, events = training.run(training.make_spec(folder, tmp_path / "w", training.tiny()))
    assert outcome.outcome == "failed"
    assert outcome.problem is not None
    assert outcome.problem.reason == "VALIDATION_FAILED"
    assert outcome.problem.facts == {"file": "train.jsonl", "place": "line 31"}
    assert not training.of(Progress, events)


def test_contradictions_end_before_anything_is_read(dataset: Path, tmp_path: Path) -> None:
    spec = training.make_spec(dataset / "absent", tmp_path, training.tiny(use_gpu=True))
    outcome, _ = training.run(spec)
    assert outcome.problem is not None
    assert outcome.problem.reason == "CONFIG_CONTRADICTION"
    outcome, _ = training.run(dataclasses.replace(spec, config=training.tiny(), ranks=2))
    assert outcome.problem is not None
    assert "one process" in outcome.problem.message


def test_the_same_spec_gives_the_same_losses(dataset: Path, tmp_path: Path) -> None:
    config = training.tiny(dropout=0.1, max_steps=5)
    first, second = (
        training.losses(training.run(training.make_spec(dataset, tmp_path / name, config))[1])
        for name in "ab"
    )
    assert first == second


def test_a_base_model_is_continued_and_keeps_its_shape(dataset: Path, tmp_path: Path) -> None:
    first = training.tiny(max_steps=60, epochs=100, learning_rate=1e-2)
    _, events = training.run(training.make_spec(dataset, tmp_path / "first", first))
    (result,) = training.of(Result, events)
    plain = dict.fromkeys(("hidden_size", "num_layers", "num_heads", "vocab_size", "max_sequence_length"))
    config = training.tiny(**plain, max_steps=5)
    spec = training.make_spec(dataset, tmp_path / "second", config, base=Path(result.folder))
    outcome, again = training.run(spec)
    assert outcome.outcome == "succeeded", outcome.problem
    began = training.of(Progress, again)[0]
    assert began.loss < training.of(Progress, events)[0].loss - 1
    for changes, words in (
        ({"hidden_size": 128}, "hidden_size is 128, but the base model has 64"),
        ({"num_layers": 9}, "num_layers is 9, but the base model has 2"),
        ({"architecture": "gpt2"}, "architecture is gpt2, but the base model is a llama"),
        ({"max_sequence_length": 4096}, "the base model ends at 32"),
    ):
        wrong = training.make_spec(
            dataset, tmp_path / "third", training.tiny(**{**plain, **changes}), base=Path(result.folder)
        )
        outcome, _ = training.run(wrong)
        assert outcome.problem is not None
        assert outcome.problem.reason == "CONFIG_CONTRADICTION"
        assert words in outcome.problem.message


def test_a_full_disk_pauses_and_leaves_the_last_checkpoint(dataset: Path, tmp_path: Path) -> None:
    """A quota of the process (RLIMIT_FSIZE) cuts a file of the save short, as a full disk does."""
    spec = training.make_spec(dataset, tmp_path / "w", training.tiny(max_steps=30, epochs=50, save_steps=10))
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from helpers import training\n"
        "from ingot.worker import attempt, launch\n"
        "from ingot.worker.progress import Checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def cap(event):\n"
        "    if isinstance(event, Checkpoint) and event.step == 10:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "outcome = attempt.run(Path(sys.argv[1]), training.Recorder(cap), launch.Control())\n"
        "sys.stderr.write(repr(outcome))\n"
    )
    words = run_code(code, spec)
    assert "outcome='paused'" in words, words[-2000:]
    assert "DISK_LOW" in words
    assert (spec.work_folder / "ckpt" / "latest").read_text() == "step-00000010"
    outcome, events = training.run(spec)
    assert outcome == Outcome("succeeded", 30)
    assert min(training.losses(events)) == 11
    assert [event.step for event in events if isinstance(event, Checkpoint)] == [20, 30]
    assert any(
        isinstance(event, Log) and "Resumed from step-00000010 (bitwise)" in event.text for event in events
    )


def test_fewer_rows_than_one_batch_still_train(tmp_path: Path) -> None:
    """The batch is filled from the order that would follow, so each step is as large as was asked."""
    rows = [{"text": f"row number {number}"} for number in range(3)]
    folder = training.write_jsonl(tmp_path / "d", rows)
    config = training.tiny(batch_size=8, epochs=2, train_split=1.0, val_split=0.0, test_split=0.0)
    outcome, events = training.run(training.make_spec(folder, tmp_path / "w", config))
    assert outcome.outcome == "succeeded", outcome.problem
    steps = training.of(Progress, events)
    assert [step.tokens for step in steps] == [8 * 32 * (number + 1) for number in range(len(steps))]
    assert steps[-1].epoch >= 2


@pytest.mark.contract("S0-51")
def test_what_happens_is_logged_for_people(dataset: Path, tmp_path: Path) -> None:
    config = training.tiny(max_steps=2, warmup_steps=50, test_split=0.0, val_split=0.0, train_split=1.0)
    _, events = training.run(training.make_spec(dataset, tmp_path, config))
    logs = training.of(Log, events)
    assert any(log.level == "info" and "parameters, fp32, ZeRO-1 on cpu" in log.text for log in logs)
    assert any(log.level == "warning" and "warmup_steps 50" in log.text for log in logs)
    assert {log.rank for log in logs} == {0}
