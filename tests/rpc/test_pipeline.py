"""The pipeline every call passes: who may call what, how failures look, and what remains on record."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from helpers.eventually import eventually
from helpers.pipelines import Rig, bearer, rig, serving
from ingot.server.core import errors
from ingot.server.core.errors import Reason
from ingot.server.core.identity import Caller, Role
from ingot.server.rpc import calls, pipeline
from ingot.v1 import catalog_pb2, catalog_pb2_grpc, transfer_pb2, transfer_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Act = Callable[[], Awaitable[None]]
NAME = "namespaces/sara/models/tiny"


async def _nothing() -> None:
    pass


def _catalog(act: Act) -> Callable[[grpc.aio.Server], None]:
    """Serve GetArtifact, which does what the test says."""

    async def get(
        request: catalog_pb2.GetArtifactRequest, context: Context
    ) -> catalog_pb2.GetArtifactResponse:
        await act()
        return catalog_pb2.GetArtifactResponse()

    return serving(GetArtifact=get)


async def _put_chunks(
    requests: AsyncIterator[transfer_pb2.PutChunksRequest], context: Context
) -> transfer_pb2.PutChunksResponse:
    async for _ in requests:
        pass
    return transfer_pb2.PutChunksResponse()


async def _read_file(
    request: transfer_pb2.ReadFileRequest, context: Context
) -> AsyncIterator[transfer_pb2.ReadFileResponse]:
    yield transfer_pb2.ReadFileResponse()
    raise errors.DataLoss(Reason.DATA_LOSS, "The file is damaged.")


def _raising(error: Exception) -> Act:
    async def act() -> None:
        raise error

    return act


def _get(running: Rig, *metadata: tuple[str, str], timeout: float = 100.0) -> grpc.Call:
    """Ask for an artifact; return the call, failed or not."""
    stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
    call = stub.GetArtifact.future(
        catalog_pb2.GetArtifactRequest(name=NAME), metadata=metadata, timeout=timeout
    )
    call.exception()  # waits for the end
    return call


def _info(call: grpc.Call) -> error_details_pb2.ErrorInfo:
    """Return the first detail of a failed call, as every client may rely on it."""
    trailing = dict(call.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    assert status.code == call.code().value[0]
    assert status.message == call.details()
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "ingot"
    return info


@pytest.mark.contract("S0-97")
@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "TOKEN_MISSING"),
        ((("authorization", "Basic YTpi"),), "TOKEN_MISSING"),
        ((("authorization", "Bearer "),), "TOKEN_MISSING"),
        (bearer("nobody"), "TOKEN_INVALID"),
        ((*bearer("member"), *bearer("admin")), "TOKEN_INVALID"),
        ((*bearer("nobody"), *bearer("admin")), "TOKEN_INVALID"),
        (bearer("expired"), "TOKEN_EXPIRED"),
    ],
)
def test_without_a_good_credential_nothing_is_called(
    metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    called: list[Caller] = []

    async def act() -> None:
        called.append(pipeline.caller())

    with rig(_catalog(act)) as running:
        call = _get(running, *metadata)
        assert call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert _info(call).reason == reason
    assert called == []


def test_the_servicer_learns_who_calls_and_what_else_is_known() -> None:
    seen: list[Caller] = []

    async def act() -> None:
        seen.append(pipeline.caller())

    with rig(_catalog(act)) as running:
        more = {"x_ingot_user": "%D8%B3%D8%A7%D8%B1%D8%A7", "x_client": "go/1.2.3", "x_request_id": "abc-1"}
        call = _get(running, *bearer("member", **more))
        with grpc.insecure_channel(running.tcp) as channel:
            stub = catalog_pb2_grpc.CatalogServiceStub(channel)
            stub.GetArtifact(catalog_pb2.GetArtifactRequest(name=NAME), metadata=bearer("admin"))
    local, remote = seen
    assert (local.principal, local.role, local.declared_user) == ("users/member", Role.MEMBER, "سارا")
    assert (local.address, local.client, local.call_id) == ("local", "go/1.2.3", "abc-1")
    assert ("x-request-id", "abc-1") in call.trailing_metadata()
    assert (remote.principal, remote.address, remote.declared_user) == ("users/admin", "127.0.0.1", "")


def test_callers_of_calls_at_the_same_time_are_kept_apart() -> None:
    seen: dict[str, str] = {}
    together = asyncio.Event()

    async def act() -> None:
        before = pipeline.caller().principal
        seen[before] = ""
        if len(seen) == 3:
            together.set()
        await together.wait()
        seen[before] = pipeline.caller().principal

    with rig(_catalog(act)) as running:
        stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
        request = catalog_pb2.GetArtifactRequest(name=NAME)
        for future in [
            stub.GetArtifact.future(request, metadata=bearer(who)) for who in ("admin", "member", "viewer")
        ]:
            future.result(timeout=100)
    assert seen == {who: who for who in ("users/admin", "users/member", "users/viewer")}


def test_an_error_of_the_rules_arrives_whole() -> None:
    error = errors.NotFound(
        Reason.ARTIFACT_NOT_FOUND, "There is no such model.", next_step="List them.", facts={"name": NAME}
    )
    with rig(_catalog(_raising(error))) as running:
        call = _get(running, *bearer("member"))
    assert call.code() is grpc.StatusCode.NOT_FOUND
    info = _info(call)
    assert info.reason == "ARTIFACT_NOT_FOUND"
    assert dict(info.metadata) == {"name": NAME, "next_step": "List them."}


def test_a_fault_of_the_server_leaks_nothing_but_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with rig(_catalog(_raising(ValueError("the secret is /etc/shadow")))) as running:
        call = _get(running, *bearer("member"))
    incident = _info(call).metadata["incident"]
    assert call.code() is grpc.StatusCode.INTERNAL
    assert incident in call.details()
    everything = f"{call.details()} {call.trailing_metadata()} {call.initial_metadata()}"
    assert "shadow" not in everything
    assert "ValueError" not in everything
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert incident in record.getMessage()
    assert record.exc_info is not None
    assert "shadow" in str(record.exc_info[1])


def test_a_stream_that_fails_after_its_first_reply_ends_with_the_error() -> None:
    with rig(serving(PutChunks=_put_chunks, ReadFile=_read_file)) as running:
        stub = transfer_pb2_grpc.TransferServiceStub(running.channel)
        replies = stub.ReadFile(transfer_pb2.ReadFileRequest(tree=NAME), metadata=bearer("member"))
        assert next(replies) == transfer_pb2.ReadFileResponse()
        with pytest.raises(grpc.RpcError) as caught:
            next(replies)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS


def test_a_call_without_a_deadline_gets_one() -> None:
    async def act() -> None:
        await asyncio.Event().wait()

    with rig(_catalog(act), unary_seconds=0.05) as running:
        call = _get(running, *bearer("member"))
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert _info(call).reason == "BUSY"


def test_a_servicers_own_timeout_is_a_fault_not_a_deadline() -> None:
    with rig(_catalog(_raising(TimeoutError("disk")))) as running:
        assert _get(running, *bearer("member")).code() is grpc.StatusCode.INTERNAL


@pytest.mark.contract("S2-42", "S2-43", "S2-9")
def test_every_call_is_recorded_with_who_what_whence_and_how_it_ended() -> None:
    with rig(_catalog(_nothing)) as running:
        _get(running, *bearer("member", x_ingot_user="sara"))
        _get(running)
        eventually(lambda: len(running.activities) == 2)
        first, second = running.activities
    assert (first.action, first.method, first.target) == ("get", "CatalogService/GetArtifact", NAME)
    assert (first.principal, first.declared_user, first.address) == ("users/member", "sara", "local")
    assert (first.code, second.code, second.principal) == ("OK", "UNAUTHENTICATED", "")
    assert first.time > 1.7e9
    assert first.seconds >= 0


@pytest.mark.contract("S2-54")
def test_a_call_without_a_declared_user_works() -> None:
    with rig(_catalog(_nothing)) as running:
        assert _get(running, *bearer("member")).code() is grpc.StatusCode.OK
        assert eventually(lambda: running.activities)[0].declared_user == ""


def test_a_stream_of_requests_is_recorded_under_what_its_first_message_names() -> None:
    header = transfer_pb2.PutChunksHeader(upload="uploads/file_12")
    with rig(serving(PutChunks=_put_chunks, ReadFile=_read_file)) as running:
        stub = transfer_pb2_grpc.TransferServiceStub(running.channel)
        requests = [transfer_pb2.PutChunksRequest(header=header), transfer_pb2.PutChunksRequest()]
        stub.PutChunks(iter(requests), metadata=bearer("member"))
        (activity,) = eventually(lambda: running.activities)
    assert (activity.action, activity.target) == ("upload", "uploads/file_12")


def test_a_call_its_client_gave_up_is_recorded_as_cancelled() -> None:
    begun = threading.Event()

    async def act() -> None:
        begun.set()
        await asyncio.Event().wait()

    with rig(_catalog(act)) as running:
        seconds = 0.1
        while not begun.is_set():  # on a busy machine a call may end before it has reached the server
            call = _get(running, *bearer("member"), timeout=seconds)
            assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            seconds *= 4
        assert eventually(lambda: running.activities)[0].code == "CANCELLED"


def test_credentials_are_remembered_for_a_moment_and_forgotten_after_any_change() -> None:
    with rig(_catalog(_nothing)) as running:
        for _ in range(5):
            assert _get(running, *bearer("member")).code() is grpc.StatusCode.OK
        assert running.identity.asked == 1
        del running.identity.callers["member"]
        running.identity.revision += 1
        assert _info(_get(running, *bearer("member"))).reason == "TOKEN_INVALID"


def test_our_own_clients_must_be_new_enough() -> None:
    with rig(_catalog(_nothing)) as running:
        call = _get(running, *bearer("member", x_client="ingot-python/0.0.9"))
        assert call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert _info(call).reason == "CLIENT_TOO_OLD"
        for client in ("ingot-python/0.1.0", "ingot-go/12.0.1", "somebody/0.0.1", ""):
            assert _get(running, *bearer("member", x_client=client)).code() is grpc.StatusCode.OK


def test_metadata_that_goes_into_logs_is_cleaned() -> None:
    with rig(_catalog(_nothing)) as running:
        _get(running, *bearer("member", x_ingot_user="a%0Ab%1b[31m" + "c" * 500, x_request_id="x" * 65))
        (activity,) = eventually(lambda: running.activities)
    assert activity.declared_user.startswith("ab[31mccc")
    assert len(activity.declared_user) == 80
    assert len(activity.call_id) == 32


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.1.2.3:50312", "10.1.2.3"),
        ("ipv6:%5B2001:db8::1%5D:50312", "2001:db8::1"),
        ("unix:/run/server.sock", "local"),
        ("unix:", "local"),
    ],
)
def test_peers_are_recorded_by_their_address(peer: str, address: str) -> None:
    assert calls.address_of(peer) == address
