"""Calls: what is tried again, after how long, and what comes out as which error."""

import random
from functools import partial

import grpc
import pytest
from google.rpc import error_details_pb2

from helpers.fake_channels import FakeServer, info, retry_after
from ingot.client import (
    AlreadyExists,
    Cancelled,
    Conflict,
    DataLoss,
    Denied,
    IngotError,
    Integrity,
    Invalid,
    LimitReached,
    NotFound,
    OutOfRange,
    Precondition,
    ServerFault,
    TimedOut,
    Unauthenticated,
    Unreachable,
)
from ingot.client._bearers import FixedToken
from ingot.client._calls import Calls, Contact
from ingot.client._catalog import Catalog
from ingot.client._identity import headers
from ingot.client._names import Names
from ingot.client._workers import Workers
from ingot.v1 import catalog_pb2, training_pb2, training_pb2_grpc, workers_pb2

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Bench:
    """A client's catalog over a fake server, with pauses noted instead of slept."""

    def __init__(self, server: FakeServer, *, contacted: bool = True, timeout: float = 300.0) -> None:
        self.pauses: list[float] = []
        self.now = 0.0
        contact = Contact()
        contact.made = contacted
        self.calls = Calls(
            "here",
            headers("ada"),
            FixedToken("secret"),
            timeout=timeout,
            contact=contact,
            pause=self.pauses.append,
            clock=lambda: self.now,
            rng=random.Random(7),
        )
        self.catalog = Catalog(server.link, self.calls, Names(lambda: "ada"))
        self.workers = Workers(server.link, self.calls)


@pytest.mark.contract("S3-52")
def test_reads_are_tried_again_with_growing_pauses_until_they_succeed() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.catalog.get("models/tiny"))
        ids = set()
        for _ in range(4):
            call = server.take("CatalogService", "GetArtifact")
            ids.add(call.metadata["x-request-id"])
            call.fail(UNAVAILABLE)
        found = catalog_pb2.Artifact(name="namespaces/ada/models/tiny")
        server.take("CatalogService", "GetArtifact").reply(catalog_pb2.GetArtifactResponse(artifact=found))
        assert answer.result(100) == found
        assert len(ids) == 1
    for pause, whole in zip(bench.pauses, (0.5, 1, 2, 4), strict=True):
        assert whole / 2 <= pause <= whole


def test_mutations_are_tried_again_under_one_request_id() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.catalog.create("datasets/chat"))
        first = server.take("CatalogService", "CreateArtifact")
        first.fail(UNAVAILABLE)
        second = server.take("CatalogService", "CreateArtifact")
        second.reply(catalog_pb2.CreateArtifactResponse())
        answer.result(100)
        assert first.request.request_id == second.request.request_id != ""


def test_what_is_not_idempotent_is_tried_once() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.workers.claim("workers/worker_1"))
        server.take("WorkersService", "ClaimWork").fail(UNAVAILABLE)
        with pytest.raises(Unreachable):
            answer.result(100)
    assert bench.pauses == []


def test_it_gives_up_after_eight_tries_and_sooner_when_no_server_ever_answered() -> None:
    for contacted, tries in ((True, 8), (False, 3)):
        with FakeServer() as server:
            bench = Bench(server, contacted=contacted)
            answer = server.run(partial(bench.catalog.get, "models/tiny"))
            for _ in range(tries):
                server.take("CatalogService", "GetArtifact").fail(UNAVAILABLE)
            with pytest.raises(Unreachable):
                answer.result(100)
        assert len(bench.pauses) == tries - 1
        assert max(bench.pauses) <= 30


def test_a_told_pause_is_respected_and_makes_a_limit_worth_a_try() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.catalog.get("models/tiny"))
        call = server.take("CatalogService", "GetArtifact")
        call.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", [info("BUSY"), retry_after(7.5)])
        server.take("CatalogService", "GetArtifact").reply(catalog_pb2.GetArtifactResponse())
        answer.result(100)
    assert bench.pauses == [7.5]


def test_a_full_disk_is_met_once_more_and_then_told() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.catalog.get("models/tiny"))
        for _ in range(2):
            call = server.take("CatalogService", "GetArtifact")
            call.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", [info("DISK_LOW"), retry_after(60)])
        with pytest.raises(LimitReached, match="full") as caught:
            answer.result(100)
    assert caught.value.retry_after == 60
    assert [0.25 <= pause <= 0.5 for pause in bench.pauses] == [True]


def test_no_pause_outlives_the_deadline() -> None:
    with FakeServer() as server:
        bench = Bench(server, timeout=50.0)
        answer = server.run(lambda: bench.catalog.get("models/tiny"))
        call = server.take("CatalogService", "GetArtifact")
        call.fail(UNAVAILABLE, "draining", [info("DRAINING"), retry_after(60)])
        with pytest.raises(Unreachable) as caught:
            answer.result(100)
    assert (bench.pauses, caught.value.retry_after) == ([], 60)


@pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_a_deadline_that_passed_while_the_program_was_stopped_does_not_count(code: grpc.StatusCode) -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.catalog.get("models/tiny"))
        first = server.take("CatalogService", "GetArtifact")
        bench.now += 302.0
        first.fail(code)
        server.take("CatalogService", "GetArtifact").reply(catalog_pb2.GetArtifactResponse())
        answer.result(100)
    assert len(bench.pauses) == 1


def test_a_deadline_that_passed_while_it_ran_counts() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.catalog.get("models/tiny"))
        call = server.take("CatalogService", "GetArtifact")
        bench.now += 300.1
        call.fail(grpc.StatusCode.DEADLINE_EXCEEDED)
        with pytest.raises(TimedOut):
            answer.result(100)
    assert bench.pauses == []


def test_every_call_says_who_and_with_what_program() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.workers.claim("workers/worker_1"))
        call = server.take("WorkersService", "ClaimWork")
        call.reply(workers_pb2.ClaimWorkResponse())
        assert answer.result(100) is None
    assert call.metadata["authorization"] == "Bearer secret"
    assert call.metadata["x-ingot-user"] == "ada"
    assert call.metadata["x-client"].startswith("ingot-python/")


def test_a_persian_user_name_travels_percent_encoded() -> None:
    assert dict(headers("سارا"))["x-ingot-user"] == "%D8%B3%D8%A7%D8%B1%D8%A7"


@pytest.mark.parametrize(
    ("code", "reason", "kind", "exit_code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", Invalid, 2),
        (grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE", OutOfRange, 2),
        (grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND", NotFound, 3),
        (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", Unauthenticated, 4),
        (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", Denied, 4),
        (grpc.StatusCode.ABORTED, "ETAG_MISMATCH", Conflict, 5),
        (grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN", AlreadyExists, 5),
        (grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID", Precondition, 5),
        (grpc.StatusCode.FAILED_PRECONDITION, "DIGEST_MISMATCH", Integrity, 6),
        (grpc.StatusCode.INVALID_ARGUMENT, "CHUNK_HASH_MISMATCH", Integrity, 6),
        (grpc.StatusCode.DATA_LOSS, "DATA_LOSS", DataLoss, 6),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA", LimitReached, 7),
        (grpc.StatusCode.CANCELLED, "CANCELLED", Cancelled, 8),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_SLOW", TimedOut, 8),
        (grpc.StatusCode.INTERNAL, "INTERNAL", ServerFault, 1),
        (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", ServerFault, 1),
    ],
)
@pytest.mark.contract("S3-54")
def test_errors_are_typed_and_carry_reason_facts_next_step_and_request_id(
    code: grpc.StatusCode, reason: str, kind: type[IngotError], exit_code: int
) -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.catalog.get("models/tiny"))
        call = server.take("CatalogService", "GetArtifact")
        field = error_details_pb2.BadRequest.FieldViolation(field="name", description="odd")
        details = [
            info(reason, next_step="Do that.", got="x"),
            error_details_pb2.BadRequest(field_violations=[field]),
        ]
        call.fail(code, "It failed.", details)
        with pytest.raises(IngotError) as caught:
            answer.result(100)
    error = caught.value
    assert type(error) is kind
    assert (error.reason, error.exit_code, error.facts) == (reason, exit_code, {"got": "x"})
    assert [(each.field, each.message) for each in error.fields] == [("name", "odd")]
    assert error.request_id == call.metadata["x-request-id"]
    if code is not grpc.StatusCode.UNIMPLEMENTED:
        assert (error.message, error.next_step) == ("It failed.", "Do that.")


@pytest.mark.contract("S2-50")
@pytest.mark.parametrize(
    ("text", "meaning", "hint"),
    [
        ("DNS resolution failed for nosuch:1", "no machine of that name", "spelling"),
        ("errors resolving nosuch:1: [address lookup failed for nosuch:1]", "no machine of that", "spelling"),
        ("Failed to connect: Connection refused", "nothing listens there", "ingot-server serve"),
        ("FD Shutdown: connection timed out", "does not answer", "firewall"),
        ("Trying to connect an http1.x server", "not an Ingot server", "https://"),
        ("connection attempt timed out before receiving SETTINGS frame", "very busy or stopped", "Try again"),
    ],
)
def test_an_unreachable_server_is_told_apart(text: str, meaning: str, hint: str) -> None:
    with FakeServer() as server:
        bench = Bench(server)
        answer = server.run(lambda: bench.workers.claim("workers/worker_1"))
        server.take("WorkersService", "ClaimWork").fail(UNAVAILABLE, text)
        with pytest.raises(Unreachable) as caught:
            answer.result(100)
    assert "here" in caught.value.message
    assert meaning in caught.value.message
    assert hint in caught.value.next_step


def test_a_stream_that_falls_silent_is_given_up() -> None:
    with FakeServer() as server:
        bench = Bench(server)
        stub = training_pb2_grpc.TrainingServiceStub(server.link.channel)
        request = training_pb2.WatchTrainingJobRequest(name="trainingJobs/job_1")
        answer = server.run(lambda: list(bench.calls.stream(stub.WatchTrainingJob, request, idle=0.1)))
        call = server.take_stream("TrainingService", "WatchTrainingJob")
        call.send(training_pb2.WatchTrainingJobResponse())
        with pytest.raises(TimedOut, match=r"sent nothing for 0\.1 s"):
            answer.result(100)
