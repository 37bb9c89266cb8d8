"""The spec file and the rules of a config: everything wrong is named, nothing wrong passes."""

import dataclasses
import json
from pathlib import Path

import pytest

from helpers import training
from ingot.worker.config import DeepSpeedOptions, TrainerSpec, TrainingConfig, problems, wants_gpu
from ingot.worker.problem import TrainingError

# key, contract id, a value no trainer can act on
REFUSED = [
    pytest.param(key, value, marks=pytest.mark.contract(item), id=f"{key}={value}")
    for key, item, value in [
        ("model_type", "S0-66", "tts"),
        ("architecture", "S0-67", "rnn"),
        ("hidden_size", "S0-68", 0),
        ("num_layers", "S0-69", 0),
        ("num_heads", "S0-70", -1),
        ("vocab_size", "S0-71", 100),
        ("epochs", "S0-72", 0),
        ("batch_size", "S0-73", 0),
        ("learning_rate", "S0-74", float("nan")),
        ("weight_decay", "S0-75", -0.1),
        ("warmup_steps", "S0-76", -1),
        ("gradient_accumulation_steps", "S0-77", 0),
        ("max_grad_norm", "S0-78", -1.0),
        ("train_split", "S0-79", 0.0),
        ("val_split", "S0-80", 1.5),
        ("test_split", "S0-81", -0.1),
        ("max_sequence_length", "S0-82", 4),
        ("optimizer", "S0-84", "lion"),
        ("scheduler", "S0-85", "cyclic"),
        ("num_gpus", "S0-89", 2),
        ("save_steps", "S0-91", 0),
        ("eval_steps", "S0-92", 0),
        ("logging_steps", "S0-93", 0),
        ("save_total_limit", "S0-94", 0),
    ]
] + [
    pytest.param(key, value, id=f"{key}={value}")
    for key, value in [("seed", -1), ("template", "x"), ("dropout", 1.0)]
]


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_a_value_nobody_can_act_on_is_refused_by_name(key: str, value: object) -> None:
    found = problems(dataclasses.replace(TrainingConfig(), **{key: value}))  # type: ignore[arg-type]
    assert key in {problem.field for problem in found}
    assert all(problem.reason in ("FIELD_INVALID", "CONFIG_CONTRADICTION") for problem in found)
    assert all(problem.message.endswith(".") for problem in found)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"use_gpu": True, "cpu_only": True}, "cpu_only"),
        ({"use_gpu": False, "cpu_only": False}, "cpu_only"),
        ({"use_gpu": True, "num_gpus": 0}, "num_gpus"),
        ({"use_gpu": False, "num_gpus": 1}, "num_gpus"),
        ({"cpu_only": True, "num_gpus": 1}, "num_gpus"),
        ({"train_split": 0.8, "val_split": 0.3}, "train_split"),
        ({"hidden_size": 100, "num_heads": 3}, "num_heads"),
        ({"hidden_size": 12, "num_heads": 4}, "num_heads"),
        ({"prompt_field": "q"}, "prompt_field"),
        ({"text_field": "t", "template": "chat"}, "text_field"),
        ({"prompt_field": "q", "answer_field": "a", "template": "plain"}, "template"),
        ({"prompt_field": "q", "answer_field": "a", "text_field": "t"}, "text_field"),
    ],
)
@pytest.mark.contract("S0-88", "S0-89", "S0-90")
def test_contradictions_are_refused(changes: dict[str, object], field: str) -> None:
    found = problems(dataclasses.replace(TrainingConfig(), **changes))  # type: ignore[arg-type]
    assert [(problem.field, problem.reason) for problem in found] == [(field, "CONFIG_CONTRADICTION")]


def test_the_two_example_configs_pass() -> None:
    shared: dict[str, object] = {"model_type": "llm", "architecture": "transformer", "max_grad_norm": 1.0}
    gpu = {
        "hidden_size": 768,
        "num_layers": 12,
        "num_heads": 12,
        "vocab_size": 50000,
        "use_gpu": True,
        "num_gpus": 1,
    }
    cpu = {
        "hidden_size": 512,
        "num_layers": 6,
        "num_heads": 8,
        "use_gpu": False,
        "num_gpus": 0,
        "cpu_only": True,
    }
    for config in (gpu | {"cpu_only": False, "mixed_precision": True}, cpu):
        assert problems(TrainingConfig(**{**shared, **config})) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, None),
        ({"use_gpu": True}, True),
        ({"cpu_only": True}, False),
        ({"num_gpus": 0}, False),
        ({"num_gpus": 1}, True),
    ],
)
def test_the_device_asked_for(changes: dict[str, object], wanted: bool | None) -> None:
    assert wants_gpu(dataclasses.replace(TrainingConfig(), **changes)) is wanted  # type: ignore[arg-type]


def test_deepspeed_options_are_checked() -> None:
    cpu = TrainingConfig(cpu_only=True)
    assert problems(cpu, DeepSpeedOptions()) == []
    wrong = DeepSpeedOptions(zero_stage=0, offload_optimizer=True, reduce_bucket_size=1)
    fields = [problem.field for problem in problems(cpu, wrong)]
    assert fields == ["deepspeed.zero_stage", "deepspeed.offload_optimizer", "deepspeed.reduce_bucket_size"]


def test_a_spec_survives_its_file(tmp_path: Path) -> None:
    spec = training.make_spec(
        tmp_path / "data", tmp_path / "work", training.tiny(use_gpu=None), base=tmp_path / "b"
    )
    spec.save(tmp_path / "spec.json")
    assert TrainerSpec.load(tmp_path / "spec.json") == spec


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (("config", "epoch"), 3, "config.epoch is no key"),
        (("config", "epochs"), "3", "config.epochs must be int; got str '3'"),
        (("config", "use_gpu"), 1, "config.use_gpu must be bool"),
        (("config", "epochs"), True, "config.epochs must be int"),
        (("dataset",), "x", "dataset must be"),
        (("job",), None, "job must be str"),
    ],
)
def test_a_wrong_spec_file_names_the_key(
    tmp_path: Path, where: tuple[str, ...], value: object, words: str
) -> None:
    path = tmp_path / "spec.json"
    training.make_spec(tmp_path, tmp_path, training.tiny()).save(path)
    data = json.loads(path.read_text())
    place = data
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    path.write_text(json.dumps(data))
    with pytest.raises(TrainingError, match=words) as caught:
        TrainerSpec.load(path)
    assert caught.value.problem.reason == "FIELD_INVALID"


def test_a_spec_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(TrainingError, match=r"spec\.json cannot be read"):
        TrainerSpec.load(tmp_path / "spec.json")
