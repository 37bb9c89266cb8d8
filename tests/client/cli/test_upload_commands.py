"""Failed uploads from the command line: what retry and purge ask for, and what they say."""

import json

import pytest

from helpers import canned_answers
from helpers.canned_server import CannedServer, failure
from helpers.command_lines import CommandLine
from ingot.v1 import catalog_pb2, common_pb2
from ingot.v1 import transfer_pb2 as pb

RETRY = "TransferService/RetryUpload"
PURGE = "TransferService/PurgeUploads"


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


@pytest.mark.contract("S3-23")
def test_an_upload_that_is_open_again_is_filled_by_pushing(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(RETRY, pb.RetryUploadResponse(upload=canned_answers.upload()))
    run = cli.run("uploads", "retry", "3")
    assert (run.code, run.out) == (0, "uploads/file_3 is uploading.\n")
    assert run.err == "Push the same files again: what is stored still does not travel.\n"
    (request,) = canned.requests(RETRY)
    assert isinstance(request, pb.RetryUploadRequest)
    assert (request.name, bool(request.request_id)) == ("uploads/file_3", True)


def test_one_that_has_not_failed_is_refused(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(RETRY, failure("FAILED_PRECONDITION", "uploads/file_3 is OPEN.", "STATE_INVALID"))
    assert cli.run("uploads", "retry", "3", "--json").code == 5


@pytest.mark.contract("S3-24")
def test_purge_says_what_goes_and_asks(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(PURGE, pb.PurgeUploadsResponse(purged=2))
    refused = cli.run("uploads", "purge")
    assert refused.code == 2
    assert "Of your uploads those that failed more than 24 h ago go" in refused.err
    assert canned.requests(PURGE) == []
    assert cli.run("uploads", "purge", "--yes").out == "Forgot 2 failed uploads.\n"
    assert cli.run("uploads", "purge", "--older-than", "1.5", "--all", "--yes", "-q").out == "2\n"
    default, asked = canned.requests(PURGE)
    assert isinstance(default, pb.PurgeUploadsRequest)
    assert isinstance(asked, pb.PurgeUploadsRequest)
    assert (default.older_than.seconds, default.all_users) == (86400, False)
    assert (asked.older_than.seconds, asked.all_users) == (5400, True)


# --- watching and counting ------------------------------------------------------------------------------

WATCH = "TransferService/WatchUpload"


def _watched(last: str, message: str = "") -> list[pb.WatchUploadResponse]:
    """Return the messages of a watch whose last state is this."""
    progress = common_pb2.Progress(phase="uploading", done=500, total=1000, unit="bytes", percent=50.0)
    change = {"from": "UPLOADING", "to": last, "message": message}
    return [
        pb.WatchUploadResponse(snapshot=canned_answers.upload()),
        pb.WatchUploadResponse(synced=common_pb2.Synced()),
        pb.WatchUploadResponse(event=common_pb2.Event(seq=1, time=canned_answers.at(1), progress=progress)),
        pb.WatchUploadResponse(
            event=common_pb2.Event(seq=2, time=canned_answers.at(2), state=common_pb2.StateChange(**change))
        ),
    ]


def _ended(stage: pb.UploadStage.ValueType, problem: str = "") -> pb.GetUploadResponse:
    upload = canned_answers.upload()
    upload.stage = stage
    upload.problem.message = problem
    if not problem:
        upload.ClearField("problem")
    return pb.GetUploadResponse(upload=upload)


@pytest.mark.contract("S3-18", "S3-32")
def test_an_upload_is_watched_until_it_is_fresh(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(WATCH, _watched("FRESH"))
    canned.answer("TransferService/GetUpload", _ended(pb.UPLOAD_STAGE_FRESH))
    run = cli.run("uploads", "watch", "3")
    assert run.code == 0
    assert run.out.splitlines()[-1] == "05:06:02  fresh"
    assert cli.run("uploads", "watch", "3", "-q").out == "uploads/file_3\n"
    lines = [json.loads(line) for line in cli.run("uploads", "watch", "3", "--json").out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["snapshot", "synced", "event", "event", "snapshot"]
    assert lines[2]["event"]["progress"]["percent"] == 50.0
    (first, *_) = canned.requests(WATCH)
    assert isinstance(first, pb.WatchUploadRequest)
    assert (first.name, first.after) == ("uploads/file_3", 0)


def test_one_that_fails_says_why(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(WATCH, _watched("FAILED", "It did not pass."))
    canned.answer(
        "TransferService/GetUpload", _ended(pb.UPLOAD_STAGE_FAILED, "It did not pass its validation.")
    )
    run = cli.run("uploads", "watch", "3", "--after", "1")
    assert run.code == 1
    assert "05:06:02  failed  It did not pass." in run.out
    assert "It did not pass its validation." in run.err


@pytest.mark.contract("S3-42")
def test_stats_ask_for_days_and_for_everybody(canned: CannedServer, cli: CommandLine) -> None:
    run = cli.run("uploads", "stats", "--since", "2026-03-04T00:00Z", "--until", "2026-03-05T00:00Z", "--all")
    assert run.code == 0
    (asked,) = canned.requests("TransferService/GetUploadStats")
    assert isinstance(asked, pb.GetUploadStatsRequest)
    assert (asked.parent, asked.all_users) == ("namespaces/-", True)
    assert asked.to_time.seconds - asked.from_time.seconds == 86400
    assert cli.run("uploads", "stats", "--since", "yesterday").code == 2


# --- the policy -----------------------------------------------------------------------------------------


UPDATE = "CatalogService/UpdateArtifact"
GET = "CatalogService/GetArtifact"


def _edited(canned: CannedServer, cli: CommandLine, *words: str) -> catalog_pb2.ValidationPolicy:
    """Edit an artifact whose policy is required with two rules; return the policy that is asked for."""
    rules = catalog_pb2.ValidationRules(min_records=100, allowed_formats=["jsonl", "csv"])
    policy = catalog_pb2.ValidationPolicy(mode=catalog_pb2.VALIDATION_MODE_REQUIRED, rules=rules)
    found = catalog_pb2.Artifact(name="namespaces/ada/datasets/chat", etag='"5"', validation=policy)
    canned.answer(GET, catalog_pb2.GetArtifactResponse(artifact=found))
    assert cli.run("edit", "datasets/ada/chat", *words).code == 0
    request = canned.requests(UPDATE)[-1]
    assert isinstance(request, catalog_pb2.UpdateArtifactRequest)
    assert request.update_mask.paths[-1] == "validation"
    assert request.artifact.etag == '"5"'
    return request.artifact.validation


@pytest.mark.contract("S3-15")
def test_mode_and_rules_of_a_policy_are_edited_each_alone(canned: CannedServer, cli: CommandLine) -> None:
    policy = _edited(canned, cli, "--validation", "none", "--license", "MIT")
    assert policy.mode == catalog_pb2.VALIDATION_MODE_NONE
    assert policy.rules.min_records == 100
    policy = _edited(canned, cli, "--rule", "required_columns=text,id", "--rule", "max_file_size=10M")
    assert policy.mode == catalog_pb2.VALIDATION_MODE_REQUIRED
    expected = catalog_pb2.ValidationRules(required_columns=["text", "id"], max_file_size=10 * 1024**2)
    assert policy.rules == expected
    assert cli.run("edit", "datasets/ada/chat", "--rule", "min_record=1").code == 2
    shown = cli.run("show", "datasets/ada/chat").out
    assert (
        "validation:  required\n             allowed_formats=jsonl,csv\n             min_records=100\n"
        in shown
    )
