"""The API's config reaches the trainer whole, and problems keep their names."""

import dataclasses
from pathlib import Path

import pytest

from ingot.client import Invalid, Unreachable
from ingot.v1 import errors_pb2, training_pb2
from ingot.worker import assignments
from ingot.worker.config import TrainingConfig
from ingot.worker.problem import Problem


def test_the_api_and_the_trainer_have_the_same_config_keys() -> None:
    wire = {field.name for field in training_pb2.TrainingConfig.DESCRIPTOR.fields}
    assert wire == {field.name for field in dataclasses.fields(TrainingConfig)}


def test_set_keys_arrive_and_unset_ones_keep_the_default() -> None:
    wire = training_pb2.TrainingConfig(epochs=3, mixed_precision=False, learning_rate=0.5, num_gpus=0)
    wire.max_time.FromSeconds(90)
    config = assignments.config_of(wire)
    assert config == TrainingConfig(
        epochs=3, mixed_precision=False, learning_rate=0.5, num_gpus=0, max_time=90.0
    )


def test_spec_carries_references_and_folders(tmp_path: Path) -> None:
    job = training_pb2.TrainingJob(
        name="trainingJobs/job_1",
        dataset_version="namespaces/a/datasets/d/versions/1",
        dataset_digest="blake3:00",
        deepspeed=training_pb2.DeepSpeedConfig(zero_stage=2, offload="optimizer", reduce_bucket_size=4096),
    )
    spec = assignments.spec_of(job, 2, tmp_path / "data", None, None, tmp_path / "work")
    spec.save(tmp_path / "spec.json")
    assert spec == type(spec).load(tmp_path / "spec.json")
    assert (spec.attempt, spec.base, spec.deepspeed.zero_stage) == (2, None, 2)
    assert spec.deepspeed.offload_optimizer
    assert spec.deepspeed.reduce_bucket_size == 4096


def test_a_pulled_checkpoint_gets_the_name_of_its_step(tmp_path: Path) -> None:
    pulled = tmp_path / "trees" / "abc"
    pulled.mkdir(parents=True)
    for _ in range(2):
        found = assignments.as_checkpoint(pulled, "trainingJobs/job_1/checkpoints/1500", tmp_path / "job")
    assert found.name == "step-00001500"
    assert found.resolve() == pulled.resolve()


def test_every_reason_of_the_trainer_is_known_to_the_api() -> None:
    assert assignments.reason_of("OUT_OF_MEMORY") == errors_pb2.ERROR_REASON_OUT_OF_MEMORY
    assert assignments.reason_of("NO_SUCH_REASON") == errors_pb2.ERROR_REASON_TRAINER_FAILED
    wire = assignments.to_wire(Problem("DIVERGED", "It diverged.", {"step": "5"}, "Lower the rate."))
    assert (wire.reason, wire.message, dict(wire.facts)) == (
        errors_pb2.ERROR_REASON_DIVERGED,
        "It diverged.",
        {"step": "5"},
    )


def test_persist_waits_for_the_server_and_raises_what_waiting_does_not_cure() -> None:
    tries: list[int] = []
    waits: list[float] = []

    def call() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise Unreachable("away")
        return "answer"

    assert assignments.persist(call, stop=lambda: False, wait=waits.append) == "answer"
    assert waits == [assignments.PAUSE] * 2
    assert assignments.persist(call, stop=lambda: True) is None

    def refuse() -> str:
        raise Invalid("no")

    with pytest.raises(Invalid):
        assignments.persist(refuse, stop=lambda: False)
