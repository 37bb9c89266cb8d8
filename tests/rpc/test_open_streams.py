"""Streams that stay open keep a good credential or end, in both directions."""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from helpers.eventually import eventually
from helpers.pipelines import Rig, bearer, rig, serving
from ingot.server.core.identity import Caller
from ingot.server.rpc import pipeline
from ingot.v1 import training_pb2, training_pb2_grpc, transfer_pb2, transfer_pb2_grpc

Watched = training_pb2.WatchTrainingJobResponse

_resting = threading.Semaphore(0)  # watches whose reply is out


async def _watch(
    request: training_pb2.WatchTrainingJobRequest, context: object
) -> AsyncIterator[training_pb2.WatchTrainingJobResponse]:
    yield Watched()
    _resting.release()
    await asyncio.Event().wait()


def _reply(call: Iterator[Watched]) -> None:
    """Take the reply of a watch and wait until it rests: one that ends while gRPC sends is CANCELLED."""
    next(call)
    assert _resting.acquire(timeout=100)


async def _put_chunks(
    requests: AsyncIterator[transfer_pb2.PutChunksRequest], context: object
) -> transfer_pb2.PutChunksResponse:
    async for _ in requests:
        pass
    return transfer_pb2.PutChunksResponse()


def _refusal(call: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    assert isinstance(call, grpc.Call)
    status = status_pb2.Status.FromString(dict(call.trailing_metadata() or ())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return call.code(), info.reason


def _revoke(running: Rig) -> None:
    del running.identity.callers["member"]
    running.identity.revision += 1


def test_an_open_stream_ends_once_its_token_is_revoked_and_others_go_on() -> None:
    with rig(serving(WatchTrainingJob=_watch), recheck_seconds=0.02) as running:
        stub = training_pb2_grpc.TrainingServiceStub(running.channel)
        request = training_pb2.WatchTrainingJobRequest(name="trainingJobs/job_1")
        revoked = stub.WatchTrainingJob(request, metadata=bearer("member"), timeout=100)
        other = stub.WatchTrainingJob(request, metadata=bearer("admin"), timeout=100)
        _reply(revoked)
        _reply(other)
        _revoke(running)
        with pytest.raises(grpc.RpcError) as caught:
            next(revoked)
        assert _refusal(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        assert other.is_active()
        other.cancel()


def test_an_open_stream_outlives_the_access_token_it_began_with() -> None:
    """Access tokens of logins live for minutes, streams for days: what counts then is the login."""
    with rig(serving(WatchTrainingJob=_watch), recheck_seconds=0.02) as running:
        stub = training_pb2_grpc.TrainingServiceStub(running.channel)
        request = training_pb2.WatchTrainingJobRequest(name="trainingJobs/job_1")
        open_ = stub.WatchTrainingJob(request, metadata=bearer("member"), timeout=100)
        _reply(open_)
        running.identity.over.add("member")
        running.identity.revision += 1
        asked = running.identity.asked
        assert eventually(lambda: running.identity.asked > asked)
        assert open_.is_active()
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.WatchTrainingJob(request, metadata=bearer("member"), timeout=100))
        assert _refusal(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        _revoke(running)
        with pytest.raises(grpc.RpcError) as caught:
            next(open_)
        assert _refusal(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


def test_an_open_stream_ends_once_its_token_lost_the_scope() -> None:
    with rig(serving(WatchTrainingJob=_watch), recheck_seconds=0.02) as running:
        stub = training_pb2_grpc.TrainingServiceStub(running.channel)
        request = training_pb2.WatchTrainingJobRequest(name="trainingJobs/job_1")
        replies = stub.WatchTrainingJob(request, metadata=bearer("member"), timeout=100)
        _reply(replies)
        found = running.identity.callers["member"]
        running.identity.callers["member"] = dataclasses.replace(found, scopes=frozenset())
        running.identity.revision += 1
        with pytest.raises(grpc.RpcError) as caught:
            next(replies)
        assert _refusal(caught.value) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")


@pytest.mark.contract("S1-51")
def test_an_open_stream_ends_once_its_caller_has_left_a_namespace() -> None:
    with rig(serving(WatchTrainingJob=_watch), recheck_seconds=0.02) as running:
        stub = training_pb2_grpc.TrainingServiceStub(running.channel)
        request = training_pb2.WatchTrainingJobRequest(name="trainingJobs/job_1")
        found = running.identity.callers["member"]
        more = dataclasses.replace(found, reads=found.reads | {"team"})

        def change(caller: Caller) -> None:
            running.identity.callers["member"] = caller
            running.identity.revision += 1

        replies = stub.WatchTrainingJob(request, metadata=bearer("member"), timeout=100)
        _reply(replies)
        change(more)  # who has more rights goes on
        second = stub.WatchTrainingJob(request, metadata=bearer("member"), timeout=100)
        _reply(second)
        assert replies.is_active()
        change(found)
        with pytest.raises(grpc.RpcError, match="has lost rights") as caught:
            next(second)
        assert _refusal(caught.value)[0] is grpc.StatusCode.UNAVAILABLE  # so that clients ask again


def test_an_upload_that_is_under_way_ends_once_its_token_is_revoked() -> None:
    begun, over = threading.Event(), threading.Event()

    def requests() -> Iterator[transfer_pb2.PutChunksRequest]:
        yield transfer_pb2.PutChunksRequest()
        begun.set()
        over.wait(100)

    with rig(serving(PutChunks=_put_chunks), recheck_seconds=0.02) as running:
        stub = transfer_pb2_grpc.TransferServiceStub(running.channel)
        call = stub.PutChunks.future(requests(), metadata=bearer("member"), timeout=100)
        assert begun.wait(100)
        _revoke(running)
        error = call.exception()
        over.set()
        assert isinstance(error, grpc.RpcError)
        assert _refusal(error) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


def test_credentials_are_looked_at_at_least_with_every_heartbeat() -> None:
    assert pipeline.RECHECK_SECONDS <= 15
