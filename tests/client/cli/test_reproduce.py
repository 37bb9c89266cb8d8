"""`ingot reproduce` against written answers: what it says, and its exit codes."""

import pytest

from helpers import canned_answers
from helpers.canned_server import CannedServer
from helpers.command_lines import CommandLine
from ingot.v1 import catalog_pb2, common_pb2
from ingot.v1 import training_pb2 as pb

ORIGINAL, RESULT = (f"{canned_answers.MODEL}/versions/{number}" for number in (1, 2))


@pytest.fixture(name="succeeds", autouse=True)
def _succeeds(canned: CannedServer) -> None:
    """The job is made, and ends well."""
    job = canned_answers.job()
    job.output_version, job.reproduces = RESULT, "trainingJobs/job_7"
    job.display_name = "Reproduces trainingJobs/job_7 (models/ada/tiny@1)"
    job.state = pb.TRAINING_JOB_STATE_SUCCEEDED
    canned.answer(
        "TrainingService/ReproduceTrainingJob",
        pb.ReproduceTrainingJobResponse(training_job=job, original_version=ORIGINAL),
    )
    canned.answer("TrainingService/GetTrainingJob", pb.GetTrainingJobResponse(training_job=job))
    canned.answer(
        "TrainingService/WatchTrainingJob",
        [
            pb.WatchTrainingJobResponse(snapshot=job),
            pb.WatchTrainingJobResponse(synced=common_pb2.Synced()),
        ],
    )


def _compared(canned: CannedServer, digest: str, *changed: str) -> None:
    kind = catalog_pb2.CHANGE_KIND_CHANGED
    canned.answer(
        "CatalogService/CompareVersions",
        catalog_pb2.CompareVersionsResponse(
            base=catalog_pb2.Version(name=ORIGINAL, digest="blake3:aa"),
            other=catalog_pb2.Version(name=RESULT, digest=digest),
            files=[catalog_pb2.FileChange(path=path, change=kind) for path in changed],
            totals=catalog_pb2.FileTotals(changed=len(changed), same=7 - len(changed)),
        ),
    )


def test_the_same_digest_ends_with_0(canned: CannedServer, cli: CommandLine) -> None:
    _compared(canned, "blake3:aa")
    run = cli.run("reproduce", "models/tiny@1", "--watch")
    assert run.code == 0
    assert (
        run.out.splitlines()[-1]
        == "models/ada/tiny@2 is models/ada/tiny@1, byte for byte: blake3:aa, 7 files"
    )
    (asked,) = canned.requests("TrainingService/ReproduceTrainingJob")
    assert isinstance(asked, pb.ReproduceTrainingJobRequest)
    assert (asked.name, asked.start, asked.output_artifact) == (ORIGINAL, True, "")


def test_another_digest_ends_with_6_and_names_the_files(canned: CannedServer, cli: CommandLine) -> None:
    _compared(canned, "blake3:bb", "model.safetensors", "README.md")
    run = cli.run("reproduce", "tiny@1")
    assert run.code == 6
    assert "2 files differ, 5 the same. model.safetensors (changed), README.md (changed)." in run.err
    assert "ingot diff models/ada/tiny@1 models/ada/tiny@2" in run.err
    assert "Only the card" not in run.err


def test_a_card_of_another_job_is_told_apart_from_weights(canned: CannedServer, cli: CommandLine) -> None:
    _compared(canned, "blake3:bb", "README.md")
    run = cli.run("reproduce", "job_7")
    assert run.code == 6
    assert "Only the card differs" in run.err


@pytest.mark.parametrize("flag", ["--no-wait", "--no-start"])
def test_without_waiting_it_says_how_to_go_on(canned: CannedServer, cli: CommandLine, flag: str) -> None:
    run = cli.run("reproduce", "models/tiny@1", "-o", "models/again", flag)
    assert run.code == 0
    assert "Next: ingot jobs " in run.err
    assert " diff models/ada/tiny@1 models/ada/" in run.err
    assert not canned.requests("TrainingService/WatchTrainingJob")


def test_a_dataset_is_no_model(cli: CommandLine) -> None:
    run = cli.run("reproduce", "datasets/chat")
    assert run.code == 2
    assert "Expected a model" in run.err
