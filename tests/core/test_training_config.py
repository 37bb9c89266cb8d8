"""Every key of a training configuration has a default or a reason to have none, and its rule."""

import dataclasses
import math

import pytest

from ingot.server.core import training_config
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.training_config import DeepSpeedConfig, TrainingConfig
from ingot.v1 import training_pb2
from ingot.worker import config as trainer

BY_MACHINE = {"use_gpu", "num_gpus", "cpu_only"}


def test_keys_are_those_of_the_wire_and_of_the_trainer() -> None:
    names = set(TrainingConfig.__slots__)
    assert names == set(training_pb2.TrainingConfig.DESCRIPTOR.fields_by_name)
    assert names == {each.name for each in dataclasses.fields(trainer.TrainingConfig)}


def test_defaults_are_those_of_the_trainer() -> None:
    filled = training_config.filled(TrainingConfig(), from_base=False)
    own = trainer.TrainingConfig()
    shape = trainer.ModelShape()
    for name in TrainingConfig.__slots__:
        value = getattr(filled, name)
        if name in BY_MACHINE:
            assert value is None, name
        elif name == "architecture":
            assert value == "transformer"
        else:
            assert value == getattr(own, name) or value == getattr(shape, name, None), name
    from_base = training_config.filled(TrainingConfig(), from_base=True)
    assert all(getattr(from_base, name) is None for name in training_config.SHAPE_KEYS)


BROKEN: list[tuple[str, dict[str, object], Reason]] = [
    ("model_type", {"model_type": "vision"}, Reason.FIELD_INVALID),
    ("architecture", {"architecture": "mamba"}, Reason.FIELD_INVALID),
    ("hidden_size", {"hidden_size": 4, "num_heads": 2}, Reason.FIELD_INVALID),
    ("num_layers", {"num_layers": 0}, Reason.FIELD_INVALID),
    ("num_heads", {"hidden_size": 100, "num_heads": 3}, Reason.CONFIG_CONTRADICTION),
    ("num_heads", {"hidden_size": 12, "num_heads": 4}, Reason.CONFIG_CONTRADICTION),
    ("vocab_size", {"vocab_size": 100}, Reason.FIELD_INVALID),
    ("epochs", {"epochs": 0}, Reason.FIELD_INVALID),
    ("batch_size", {"batch_size": -1}, Reason.FIELD_INVALID),
    ("learning_rate", {"learning_rate": 0.0}, Reason.FIELD_INVALID),
    ("learning_rate", {"learning_rate": math.nan}, Reason.FIELD_INVALID),
    ("weight_decay", {"weight_decay": -0.1}, Reason.FIELD_INVALID),
    ("warmup_steps", {"warmup_steps": -1}, Reason.FIELD_INVALID),
    ("gradient_accumulation_steps", {"gradient_accumulation_steps": 0}, Reason.FIELD_INVALID),
    ("max_grad_norm", {"max_grad_norm": -1.0}, Reason.FIELD_INVALID),
    ("train_split", {"train_split": 0.5}, Reason.CONFIG_CONTRADICTION),
    ("val_split", {"train_split": 0.9, "val_split": -0.1, "test_split": 0.2}, Reason.FIELD_INVALID),
    ("test_split", {"train_split": 0.9, "val_split": 0.2, "test_split": -0.1}, Reason.FIELD_INVALID),
    ("max_sequence_length", {"max_sequence_length": 2}, Reason.FIELD_INVALID),
    ("optimizer", {"optimizer": "lion"}, Reason.FIELD_INVALID),
    ("scheduler", {"scheduler": "polynomial"}, Reason.FIELD_INVALID),
    ("cpu_only", {"use_gpu": True, "cpu_only": True}, Reason.CONFIG_CONTRADICTION),
    ("cpu_only", {"use_gpu": False, "cpu_only": False}, Reason.CONFIG_CONTRADICTION),
    ("num_gpus", {"use_gpu": True, "num_gpus": 0}, Reason.CONFIG_CONTRADICTION),
    ("num_gpus", {"cpu_only": True, "num_gpus": 1}, Reason.CONFIG_CONTRADICTION),
    ("num_gpus", {"num_gpus": 2}, Reason.CONFIG_CONTRADICTION),
    ("save_steps", {"save_steps": 0}, Reason.FIELD_INVALID),
    ("eval_steps", {"eval_steps": 0}, Reason.FIELD_INVALID),
    ("logging_steps", {"logging_steps": 0}, Reason.FIELD_INVALID),
    ("save_total_limit", {"save_total_limit": 0}, Reason.FIELD_INVALID),
    ("seed", {"seed": -1}, Reason.FIELD_INVALID),
    ("template", {"template": "alpaca"}, Reason.FIELD_INVALID),
    (
        "template",
        {"template": "plain", "prompt_field": "q", "answer_field": "a"},
        Reason.CONFIG_CONTRADICTION,
    ),
    ("text_field", {"template": "chat", "text_field": "text"}, Reason.CONFIG_CONTRADICTION),
    ("prompt_field", {"answer_field": "a"}, Reason.CONFIG_CONTRADICTION),
    ("max_steps", {"max_steps": -1}, Reason.FIELD_INVALID),
    ("max_time", {"max_time": -1.0}, Reason.FIELD_INVALID),
    ("dropout", {"dropout": 1.0}, Reason.FIELD_INVALID),
]


def whole(given: dict[str, object]) -> TrainingConfig:
    """Return a config with defaults."""
    return training_config.filled(TrainingConfig(**given), from_base=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(("field", "given", "reason"), BROKEN)
def test_broken_rules_are_told_by_field_here_and_in_the_trainer(
    field: str, given: dict[str, object], reason: Reason
) -> None:
    engine = training_config.filled_engine(DeepSpeedConfig())
    with pytest.raises(Invalid) as refused:
        training_config.check(whole(given), engine)
    found = {each.field: each.reason for each in refused.value.fields}
    assert found[f"config.{field}"] is reason
    theirs = trainer.problems(trainer.TrainingConfig(**given))  # type: ignore[arg-type]
    told = {f"config.{each.field}": each.reason for each in reversed(theirs)}
    assert told == found


def test_several_broken_rules_are_told_at_once() -> None:
    engine = training_config.filled_engine(DeepSpeedConfig(zero_stage=0, offload="disk"))
    with pytest.raises(Invalid) as refused:
        training_config.check(whole({"epochs": 0, "optimizer": "lion", "num_gpus": 4}), engine)
    assert refused.value.reason is Reason.CONFIG_CONTRADICTION
    assert {each.field for each in refused.value.fields} == {
        "config.epochs",
        "config.optimizer",
        "config.num_gpus",
        "deepspeed.zero_stage",
        "deepspeed.offload",
    }


def test_offload_needs_a_gpu() -> None:
    engine = training_config.filled_engine(DeepSpeedConfig(offload="optimizer"))
    with pytest.raises(Invalid, match="runs on the CPU"):
        training_config.check(whole({"cpu_only": True}), engine)
    training_config.check(whole({"use_gpu": True, "num_gpus": 1}), engine)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"use_gpu": False, "num_gpus": 0, "cpu_only": True},  # the example for a CPU of the first system
        {"use_gpu": True, "num_gpus": 1, "cpu_only": False},  # and that for a GPU
        {"prompt_field": "q", "answer_field": "a"},
        {"template": "plain", "text_field": "text"},
    ],
)
def test_sound_configs_pass(given: dict[str, object]) -> None:
    training_config.check(whole(given), training_config.filled_engine(DeepSpeedConfig()))
