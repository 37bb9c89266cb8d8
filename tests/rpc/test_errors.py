"""The table of errors: every kind has its status, and everything an error says reaches the client."""

import urllib.parse

import grpc
import pytest
from google.rpc import error_details_pb2

from ingot.server.core import errors as core
from ingot.server.core.errors import FieldProblem, IngotError, Reason
from ingot.server.rpc import errors
from ingot.v1 import errors_pb2

KINDS = {
    core.Invalid: "INVALID_ARGUMENT",
    core.NotFound: "NOT_FOUND",
    core.AlreadyExists: "ALREADY_EXISTS",
    core.Conflict: "ABORTED",
    core.Precondition: "FAILED_PRECONDITION",
    core.OutOfRange: "OUT_OF_RANGE",
    core.Exhausted: "RESOURCE_EXHAUSTED",
    core.Unauthenticated: "UNAUTHENTICATED",
    core.Denied: "PERMISSION_DENIED",
    core.Unavailable: "UNAVAILABLE",
    core.TooSlow: "DEADLINE_EXCEEDED",
    core.DataLoss: "DATA_LOSS",
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_has_its_status(kind: type[IngotError]) -> None:
    status = errors.status_of(kind(Reason.BUSY, "What happened."))
    assert status.code == grpc.StatusCode[KINDS[kind]].value[0]
    assert status.message == "What happened."


def test_every_kind_is_in_the_table() -> None:
    assert set(IngotError.__subclasses__()) == set(KINDS) == set(errors.STATUS_OF)


def test_reasons_are_those_of_the_protos() -> None:
    proto = {name.removeprefix("ERROR_REASON_") for name, _ in errors_pb2.ErrorReason.items()}
    assert proto - {"UNSPECIFIED"} == {reason.value for reason in Reason}


def test_all_that_an_error_says_travels() -> None:
    problem = FieldProblem("artifact.name", "expected a name, got ''", Reason.NAME_INVALID)
    error = core.Exhausted(
        Reason.BUSY,
        "Too many uploads: expected at most 4, got 5.",
        next_step="Wait for one to end.",
        facts={"limit": "4", "کاربر": "سارا"},
        fields=[problem],
        retry_after=2.5,
    )
    status = errors.status_of(error)
    info, request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail, message in zip(status.details, (info, request, retry), strict=True):
        assert detail.Unpack(message)
    assert (info.reason, info.domain) == ("BUSY", "ingot")
    assert dict(info.metadata) == {"limit": "4", "کاربر": "سارا", "next_step": "Wait for one to end."}
    violation = request.field_violations[0]
    assert (violation.field, violation.reason) == ("artifact.name", "NAME_INVALID")
    assert violation.description == "expected a name, got ''"
    assert retry.retry_delay.ToTimedelta().total_seconds() == 2.5


def test_details_fit_into_the_trailing_metadata_whatever_an_error_holds() -> None:
    long = "ش" * 100_000
    facts = {f"fact{number}": long for number in range(100)}
    fields = [FieldProblem(long, long)] * 500
    status = errors.status_of(core.Invalid(Reason.BAD_PATH, long, next_step=long, facts=facts, fields=fields))
    ((_, value),) = errors.trailing(status)
    message = len(urllib.parse.quote(status.message))
    assert len(value) + message < 8192 - 512  # what gRPC takes by default, with room for the rest
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.metadata["next_step"].startswith("ششش")


def test_a_fault_of_the_server_says_its_incident_only() -> None:
    status = errors.incident_status("c0ffee")
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert (info.reason, info.metadata["incident"]) == ("INTERNAL", "c0ffee")
    assert "c0ffee" in status.message
