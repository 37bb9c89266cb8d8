"""ReproduceTrainingJob on a whole server: what is made again, and why it is refused."""

import pathlib

import pytest

from helpers.servers import Server, running_server
from helpers.trainers import BASE, DATASET, OUTPUT, Trainer, folder, start_job
from ingot.client import Client, Denied, Integrity, NotFound, Precondition
from ingot.v1 import training_pb2 as pb
from ingot.v1 import workers_pb2

DONE = workers_pb2.WORK_OUTCOME_SUCCEEDED
JOB = "trainingJobs/job_1"


def finish_one(trainer: Trainer, made: pathlib.Path) -> pb.TrainingJob:
    """Claim a job and end it with a model of these files."""
    work = trainer.claim()
    job = work.training.training_job
    trainer.client.push_result(job.output_artifact, made, training_job=work.name, attempt=work.attempt)
    return trainer.finish(work, DONE)


@pytest.fixture(name="trained")
def _trained(tmp_path: pathlib.Path) -> object:
    """A server where job_1 has made version 1 of OUTPUT."""
    with running_server(tmp_path / "server") as server:
        start_job(server, tmp_path)
        trainer = Trainer(server)
        finish_one(trainer, folder(tmp_path / "made", **{"model.safetensors": "trained"}))
        yield server, trainer
        trainer.client.close()


def test_a_model_is_made_again_with_the_same_inputs_and_compared(
    trained: tuple[Server, Trainer], tmp_path: pathlib.Path
) -> None:
    server, trainer = trained
    with Client(server.address, server.token("sara")) as sara:
        made = sara.training.reproduce(OUTPUT, start=True, request_id="0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5e")
        first, again = sara.training.get(JOB), made.training_job
        for field in (
            *("dataset_version", "dataset_digest", "base_version", "base_digest"),
            *("config", "deepspeed", "output_artifact", "namespace"),
        ):
            assert getattr(again, field) == getattr(first, field), field
        assert (again.name, again.state) == ("trainingJobs/job_2", pb.TRAINING_JOB_STATE_QUEUED)
        assert again.reproduces == JOB
        assert again.display_name == f"Reproduces {JOB} (models/sara/tiny@1)"
        assert made.original_version == f"{OUTPUT}/versions/1"
        repeated = sara.training.reproduce(
            OUTPUT, start=True, request_id="0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5e"
        )
        assert repeated.training_job.name == again.name
        done = finish_one(trainer, tmp_path / "made")
        found = sara.versions.compare(made.original_version, done.output_version)
        assert found.other.name == f"{OUTPUT}/versions/2"
        assert found.base.digest == found.other.digest == made.original_digest


def test_a_job_is_made_again_into_another_model(trained: tuple[Server, Trainer]) -> None:
    server, _ = trained
    with Client(server.address, server.token("sara")) as sara:
        planned = sara.training.reproduce("job_1", output="models/again", validate_only=True)
        assert planned.training_job.name == ""
        assert len(list(sara.training.list())) == 1
        made = sara.training.reproduce("job_1", output="models/again")
        assert made.training_job.output_artifact == "namespaces/sara/models/again"
        assert made.training_job.state == pb.TRAINING_JOB_STATE_DRAFT


def test_what_was_not_trained_here_is_refused(trained: tuple[Server, Trainer]) -> None:
    server, _ = trained
    with Client(server.address, server.token("sara")) as sara:
        with pytest.raises(Precondition, match="was not trained here") as refused:
            sara.training.reproduce(BASE)
        assert refused.value.reason == "STATE_INVALID"
        with pytest.raises(Precondition, match="was not trained here"):
            sara.training.reproduce(DATASET)


@pytest.mark.parametrize("gone", [DATASET, BASE])
def test_inputs_that_are_gone_or_others_are_told(
    trained: tuple[Server, Trainer], tmp_path: pathlib.Path, gone: str
) -> None:
    server, _ = trained
    with Client(server.address, server.token("sara")) as sara:
        sara.catalog.delete_version(f"{gone}/versions/1", force=True)
        with pytest.raises(NotFound, match=f"{JOB} used {gone}/versions/1") as missing:
            sara.training.reproduce(OUTPUT)
        assert missing.value.next_step.endswith(f"ingot restore {gone}/versions/1")
        sara.catalog.delete(gone, force=True)
        sara.push(gone, folder(tmp_path / "other", **{"train.jsonl": '{"text": "other"}\n'}))
        with pytest.raises(Integrity, match=f"is not what {JOB} used: expected blake3:") as other:
            sara.training.reproduce(OUTPUT)
        assert other.value.reason == "DIGEST_MISMATCH"


def test_a_deleted_job_is_told_before_and_after(trained: tuple[Server, Trainer]) -> None:
    server, _ = trained
    with Client(server.address, server.token("sara")) as sara:
        going = sara.training.delete("job_1", validate_only=True)
        assert list(going.dependants) == [f"{OUTPUT}/versions/1"]
        assert sara.training.get("job_1").name == JOB
        assert list(sara.training.delete("job_1").dependants) == [f"{OUTPUT}/versions/1"]
        with pytest.raises(NotFound, match="which is deleted or not yours to see"):
            sara.training.reproduce(OUTPUT)


def test_a_name_that_is_anothers_by_now_is_not_compared_with(
    trained: tuple[Server, Trainer], tmp_path: pathlib.Path
) -> None:
    server, _ = trained
    with Client(server.address, server.token("sara")) as sara:
        sara.catalog.delete(OUTPUT, force=True)
        sara.push(OUTPUT, folder(tmp_path / "other", **{"config.json": "{}"}))
        made = sara.training.reproduce("job_1")
        assert (made.original_version, made.original_digest) == ("", "")
        assert made.training_job.display_name == f"Reproduces {JOB}"


def test_strangers_hear_of_no_job_and_write_nowhere_else(trained: tuple[Server, Trainer]) -> None:
    server, _ = trained
    with Client(server.address, server.token("omid")) as omid:
        with pytest.raises(NotFound):
            omid.training.reproduce(OUTPUT)
        with pytest.raises(NotFound):
            omid.training.reproduce("job_1")
    with Client(server.address, server.token("sara")) as sara, pytest.raises((Denied, NotFound)):
        sara.training.reproduce("job_1", output="models/omid/taken")
