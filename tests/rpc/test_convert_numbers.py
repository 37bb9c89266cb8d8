"""Numbers that no field may have, refused by the name of the field before any rule sees them."""

import math

import pytest
from google.protobuf import json_format, struct_pb2

from ingot.server.core.errors import Invalid, Reason
from ingot.server.rpc import convert_catalog, convert_transfer, convert_workers
from ingot.v1 import catalog_pb2, transfer_pb2, workers_pb2

UNKNOWN = [99, -1]


def _struct(**values: float) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


def _nested(depth: int, *, lists: bool = False) -> struct_pb2.Struct:
    """Return an object that holds one in one, `depth` in all."""
    text = '{"a":[' * depth + "1" + "]}" * depth if lists else '{"a":' * depth + "1" + "}" * depth
    return json_format.Parse(text, struct_pb2.Struct())


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["metadata", "performance_metrics"])
def test_numbers_of_a_version_that_are_none_are_refused_by_their_place(number: float, field: str) -> None:
    version = transfer_pb2.NewVersion(
        artifact="namespaces/sara/models/tiny",
        **{field: _struct(loss=number)},  # type: ignore[arg-type]
    )
    with pytest.raises(Invalid) as caught:
        convert_transfer.target_of(transfer_pb2.UploadTarget(version=version))
    assert caught.value.reason is Reason.FIELD_INVALID
    assert [each.field for each in caught.value.fields] == [f"target.version.{field}.loss"]


@pytest.mark.parametrize("field", ["metadata", "requirements"])
def test_numbers_of_an_artifact_are_found_wherever_they_are(field: str) -> None:
    inner = struct_pb2.Struct()
    inner.update({"good": [1.0, {"bad": math.nan}]})
    artifact = catalog_pb2.Artifact(**{field: inner})  # type: ignore[arg-type]
    with pytest.raises(Invalid, match=rf"artifact\.{field}\.good\[1\]\.bad: expected a number, got nan"):
        convert_catalog.fields_of(artifact)


def test_objects_are_kept_as_they_are_up_to_a_depth_that_answers_can_hold() -> None:
    deepest = _nested(convert_catalog.JSON_DEPTH)
    assert convert_catalog.json_of(deepest, "metadata") == json_format.MessageToDict(deepest)
    for message in (_nested(convert_catalog.JSON_DEPTH + 1), _nested(12, lists=True)):
        with pytest.raises(Invalid, match=f"at most {convert_catalog.JSON_DEPTH} levels"):
            convert_catalog.json_of(message, "metadata")


def test_what_is_accepted_survives_being_listed_inside_other_messages() -> None:
    values = convert_catalog.json_of(_nested(convert_catalog.JSON_DEPTH), "metadata")
    version = catalog_pb2.Version(metadata=convert_catalog.struct_of(values))
    answer = catalog_pb2.ListArtifactsResponse(artifacts=[catalog_pb2.Artifact(versions=[version])])
    assert catalog_pb2.ListArtifactsResponse.FromString(answer.SerializeToString()) == answer


@pytest.mark.parametrize("kind", [*UNKNOWN, 0])
def test_kinds_of_checkpoints_that_are_none_are_refused(kind: int) -> None:
    checkpoint = transfer_pb2.NewCheckpoint(training_job="trainingJobs/job_1")
    checkpoint.kind = kind  # type: ignore[assignment]
    with pytest.raises(Invalid, match=rf"target\.checkpoint\.kind: expected one of .*, got {kind}"):
        convert_transfer.target_of(transfer_pb2.UploadTarget(checkpoint=checkpoint))


@pytest.mark.parametrize("outcome", [*UNKNOWN, 0])
def test_outcomes_that_are_none_are_refused(outcome: int) -> None:
    request = workers_pb2.FinishWorkRequest()
    request.outcome = outcome  # type: ignore[assignment]
    with pytest.raises(Invalid, match=rf"outcome: expected how the work ended .*, got {outcome}"):
        convert_workers.ending_of(request, 0.0)


@pytest.mark.parametrize("stage", UNKNOWN)
def test_stages_of_uploads_that_are_none_are_refused(stage: int) -> None:
    with pytest.raises(Invalid, match=f"stage: expected a stage of an upload, got {stage}"):
        convert_transfer.stage_of(stage)  # type: ignore[arg-type]
