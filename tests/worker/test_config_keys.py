"""Every key of a training config acts: each test changes one key and looks at what came of it."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from helpers import training
from ingot.worker import folders
from ingot.worker.progress import Checkpoint, Event, Log, Metrics, Outcome, Progress, Result

pytestmark = pytest.mark.slow

STEPS = 6


@dataclass
class Run:
    """A finished training, and what can be seen of it."""

    outcome: Outcome
    events: list[Event]
    work: Path

    @cached_property
    def steps(self) -> list[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]

    @cached_property
    def losses(self) -> list[float]:
        return [step.loss for step in self.steps]

    @cached_property
    def rates(self) -> list[float]:
        return [step.learning_rate for step in self.steps]

    @cached_property
    def folder(self) -> Path:
        return next(Path(event.folder) for event in self.events if isinstance(event, Result))

    @cached_property
    def model(self) -> dict[str, object]:
        data = json.loads((self.folder / "config.json").read_text())
        assert isinstance(data, dict)
        return data

    @cached_property
    def prepared(self) -> dict[str, object]:
        (path,) = self.work.glob("prep/*/prep.json")
        data = json.loads(path.read_text())
        assert isinstance(data, dict)
        return data

    def logs(self, words: str) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Log) and words in event.text]

    def steps_with(self, name: str) -> list[int]:
        return [event.step for event in self.events if isinstance(event, Metrics) and name in event.values]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.write_jsonl(tmp_path_factory.mktemp("dataset"), training.conversations(120))


@pytest.fixture(scope="module")
def usual(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(dataset, tmp_path_factory.mktemp("usual"))


@pytest.fixture
def changed(dataset: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    return train(dataset, tmp_path, **request.param)


def train(dataset: Path, work: Path, **changes: object) -> Run:
    config = training.tiny(**{"max_steps": STEPS, **changes})
    outcome, events = training.run(training.make_spec(dataset, work, config))
    assert outcome.outcome == "succeeded", outcome.problem
    return Run(outcome, events, work)


def change(**changes: object) -> pytest.MarkDecorator:
    """Run the test with a training that differs from the usual one in these keys."""
    values = [pytest.param(changes, id=str(changes))]
    return pytest.mark.parametrize("changed", values, indirect=True)


@pytest.mark.contract("S0-66")
@change(model_type="llm")
def test_model_type(changed: Run) -> None:
    assert changed.model["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.contract("S0-67")
@change(architecture="gpt2")
def test_architecture(usual: Run, changed: Run) -> None:
    assert (usual.model["model_type"], changed.model["model_type"]) == ("llama", "gpt2")


@pytest.mark.contract("S0-68")
@change(hidden_size=128)
def test_hidden_size(usual: Run, changed: Run) -> None:
    assert (usual.model["hidden_size"], changed.model["hidden_size"]) == (64, 128)


@pytest.mark.contract("S0-69")
@change(num_layers=3)
def test_num_layers(usual: Run, changed: Run) -> None:
    assert (usual.model["num_hidden_layers"], changed.model["num_hidden_layers"]) == (2, 3)


@pytest.mark.contract("S0-70")
@change(num_heads=2)
def test_num_heads(usual: Run, changed: Run) -> None:
    assert (usual.model["num_attention_heads"], changed.model["num_attention_heads"]) == (4, 2)


@pytest.mark.contract("S0-71")
@change(vocab_size=330)
def test_vocab_size_is_an_upper_bound(usual: Run, changed: Run) -> None:
    assert (usual.model["vocab_size"], changed.model["vocab_size"]) == (512, 320)
    assert changed.prepared["vocabulary"] == 320


@pytest.mark.contract("S0-72")
@change(epochs=2, max_steps=0)
def test_epochs(dataset: Path, changed: Run, tmp_path: Path) -> None:
    once = train(dataset, tmp_path / "once", epochs=1, max_steps=0)
    assert 1 <= once.steps[-1].epoch < 1.5
    assert 2 <= changed.steps[-1].epoch < 2.5
    assert once.steps[-1].total <= math.ceil(changed.steps[-1].total / 2) + 1 < changed.steps[-1].total


@pytest.mark.contract("S0-73")
@change(batch_size=8)
def test_batch_size(usual: Run, changed: Run) -> None:
    assert (usual.steps[0].tokens, changed.steps[0].tokens) == (4 * 32, 8 * 32)


@pytest.mark.contract("S0-74")
@change(learning_rate=1e-3)
def test_learning_rate(usual: Run, changed: Run) -> None:
    assert (max(usual.rates), max(changed.rates)) == (3e-3, 1e-3)
    assert usual.losses[0] == changed.losses[0]
    assert usual.losses[1] < changed.losses[1]


@pytest.mark.contract("S0-75")
@change(weight_decay=5.0)
def test_weight_decay(usual: Run, changed: Run) -> None:
    assert usual.losses[0] == changed.losses[0]
    assert largest_weight(changed) < largest_weight(usual)


@pytest.mark.contract("S0-76")
@change(warmup_steps=3, scheduler="constant")
def test_warmup_steps(changed: Run) -> None:
    assert changed.rates == pytest.approx([1e-3, 2e-3, 3e-3, 3e-3, 3e-3, 3e-3])


@pytest.mark.contract("S0-76")
@change(warmup_steps=1000)
def test_warmup_beyond_the_run_is_shortened_with_a_warning(changed: Run) -> None:
    assert changed.logs("warmup_steps 1000 is not below the run's 6 steps")
    assert max(changed.rates) == 3e-3


@pytest.mark.contract("S0-77")
@change(gradient_accumulation_steps=3)
def test_gradient_accumulation_steps(usual: Run, changed: Run) -> None:
    assert (usual.steps[0].tokens, changed.steps[0].tokens) == (4 * 32, 3 * 4 * 32)
    assert changed.outcome.step == STEPS


@pytest.mark.contract("S0-78")
@change(max_grad_norm=1e-6, optimizer="sgd", learning_rate=0.1)
def test_max_grad_norm(dataset: Path, changed: Run, tmp_path: Path) -> None:
    free = train(dataset, tmp_path / "free", max_grad_norm=0.0, optimizer="sgd", learning_rate=0.1)
    assert changed.steps[0].grad_norm > 0.1, "the norm is reported as it was before clipping"
    assert changed.losses[-1] == pytest.approx(changed.losses[0], abs=0.1)
    assert free.losses[-1] < changed.losses[-1] - 0.05


@pytest.mark.contract("S0-79", "S0-80", "S0-81")
@change(train_split=1.0, val_split=0.0, test_split=0.0)
def test_splits(usual: Run, changed: Run) -> None:
    assert usual.steps_with("val/loss") == [STEPS]
    assert usual.steps_with("test/bits_per_byte") == [STEPS]
    assert changed.steps_with("val/loss") == changed.steps_with("test/loss") == []
    assert changed.steps[-1].epoch < usual.steps[-1].epoch, "more is left to train on"


@pytest.mark.contract("S0-82")
@change(max_sequence_length=64)
def test_max_sequence_length(usual: Run, changed: Run) -> None:
    assert (usual.steps[0].tokens, changed.steps[0].tokens) == (4 * 32, 4 * 64)
    assert changed.model["max_position_embeddings"] == 64


@pytest.mark.contract("S0-83")
@change(data_augmentation=True)
def test_data_augmentation(usual: Run, changed: Run) -> None:
    assert not usual.logs("variants")
    (line,) = changed.logs("data_augmentation added")
    assert int(line.split("added ")[1].split()[0]) > 10
    assert changed.steps[-1].epoch < usual.steps[-1].epoch


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adafactor"])
@pytest.mark.contract("S0-84")
def test_optimizer(dataset: Path, usual: Run, tmp_path: Path, optimizer: str) -> None:
    rate = {"adam": 3e-3, "sgd": 0.5, "adafactor": 0.03}[optimizer]
    other = train(dataset, tmp_path, optimizer=optimizer, learning_rate=rate, weight_decay=0.5)
    assert other.losses[0] == usual.losses[0]
    assert other.losses[-1] < other.losses[0] - 0.05, "it learns"
    assert other.losses[2:] != usual.losses[2:]


@pytest.mark.parametrize(
    ("scheduler", "shape"),
    [
        ("linear", [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", [(1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]),
        ("constant", [1] * 6),
        ("inverse_sqrt", [1 / math.sqrt(step) for step in range(1, 7)]),
    ],
)
@pytest.mark.contract("S0-85")
def test_scheduler(dataset: Path, tmp_path: Path, scheduler: str, shape: list[float]) -> None:
    run = train(dataset, tmp_path, scheduler=scheduler)
    assert [rate / 3e-3 for rate in run.rates] == pytest.approx(shape)


@pytest.mark.contract("S0-86")
@change(mixed_precision=True)
def test_mixed_precision(usual: Run, changed: Run) -> None:
    assert (usual.model["dtype"], changed.model["dtype"]) == ("float32", "bfloat16")
    assert changed.losses == pytest.approx(usual.losses, rel=0.05)
    assert changed.losses != usual.losses


@pytest.mark.contract("S0-87")
@change(gradient_checkpointing=True)
def test_gradient_checkpointing(dataset: Path, usual: Run, changed: Run) -> None:
    from ingot.worker import model, tokens

    assert changed.losses == usual.losses, "it costs time and saves memory, and changes nothing else"
    tokenizer = tokens.Tokenizer.from_pretrained(changed.folder)
    for wanted in (True, False):
        made = model.build(training.tiny(gradient_checkpointing=wanted), None, tokenizer, 32)
        assert isinstance(made, model.TokenLoss)
        assert made.model.is_gradient_checkpointing is wanted


@pytest.mark.parametrize(
    "changes", [{"use_gpu": True}, {"num_gpus": 1}, {"use_gpu": True, "num_gpus": 1, "cpu_only": False}]
)
@pytest.mark.contract("S0-88", "S0-89")
def test_a_gpu_that_is_not_here(dataset: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    import torch

    config = training.tiny(**{"cpu_only": None, **changes})
    outcome, events = training.run(training.make_spec(dataset, tmp_path, config))
    if torch.cuda.is_available():
        assert outcome.outcome == "succeeded"
        return
    assert outcome.problem is not None
    assert outcome.problem.reason == "ENVIRONMENT_MISSING"
    assert "GPU" in outcome.problem.message
    assert not training.of(Progress, events)


@pytest.mark.contract("S0-88", "S0-90")
@change(use_gpu=False, num_gpus=0, cpu_only=True)
def test_cpu_only(changed: Run) -> None:
    assert changed.logs("on cpu")


@pytest.mark.contract("S0-91", "S0-52")
@change(save_steps=2)
def test_save_steps(usual: Run, changed: Run) -> None:
    def saved(run: Run) -> list[tuple[int, str]]:
        return [(event.step, event.checkpoint_kind) for event in run.events if isinstance(event, Checkpoint)]

    assert saved(usual) == [(6, "final")]
    assert saved(changed) == [(2, "periodic"), (4, "periodic"), (6, "final")]


@pytest.mark.contract("S0-92")
@change(eval_steps=2)
def test_eval_steps(usual: Run, changed: Run) -> None:
    assert usual.steps_with("val/perplexity") == [6]
    assert changed.steps_with("val/perplexity") == [2, 4, 6]
    assert changed.losses == usual.losses, "looking changes nothing"


@pytest.mark.contract("S0-93")
@change(logging_steps=4)
def test_logging_steps(usual: Run, changed: Run) -> None:
    assert usual.steps_with("train/grad_norm") == [1, 2, 3, 4, 5, 6]
    assert changed.steps_with("train/grad_norm") == [4, 6]


@pytest.mark.contract("S0-94")
@change(save_total_limit=2, save_steps=1)
def test_save_total_limit(changed: Run) -> None:
    kept = [folders.step_of(folder) for folder in folders.checkpoints(changed.work / "ckpt")]
    assert kept[-2:] == [5, 6]
    assert len(kept) <= 3, "the newest two, and the best"


def test_the_best_checkpoint_is_kept_beside_the_newest(dataset: Path, tmp_path: Path) -> None:
    run = train(
        dataset,
        tmp_path,
        save_steps=1,
        eval_steps=1,
        save_total_limit=1,
        max_steps=20,
        learning_rate=1.0,
        warmup_steps=19,
    )
    saved = [event for event in run.events if isinstance(event, Checkpoint)]
    best = min(saved, key=lambda event: event.metrics["val/loss"])
    assert best.step < 20, "the rate grows far too high, so the last is not the best"
    assert [folders.step_of(folder) for folder in folders.checkpoints(tmp_path / "ckpt")] == [best.step, 20]


@change(seed=7)
def test_seed(usual: Run, changed: Run) -> None:
    assert usual.losses[0] != changed.losses[0]


@change(dropout=0.5)
def test_dropout(usual: Run, changed: Run) -> None:
    assert usual.losses != changed.losses
    assert changed.model["attention_dropout"] == 0.5


@change(max_time=1e-6)
def test_max_time(changed: Run) -> None:
    assert changed.outcome.step == 1
    assert changed.logs("max_time of 1e-06 s is used up; training ends at step 1 of 6")
    assert changed.folder.is_dir()


@pytest.mark.contract("S0-104")
@change(normalise_persian=True)
def test_normalise_persian_is_kept_in_the_tokenizer(usual: Run, changed: Run) -> None:
    from ingot.worker.tokens import Tokenizer

    arabic, persian = "كتابي", "کتابی"
    for run, equal in ((usual, False), (changed, True)):
        tokenizer = Tokenizer.from_pretrained(run.folder)
        assert (tokenizer(arabic).input_ids == tokenizer(persian).input_ids) is equal


def largest_weight(run: Run) -> float:
    from safetensors.torch import load_file

    weights = load_file(run.folder / "model.safetensors")
    return max(float(weight.abs().mean()) for name, weight in weights.items() if "mlp" in name)
