"""The server around the services: addresses, options, health, reflection, many watchers, and a quiet end."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from helpers import loops
from helpers.eventually import eventually
from helpers.pipelines import Rig, bearer, rig, serving
from ingot.server.rpc import methods, server
from ingot.v1 import catalog_pb2, catalog_pb2_grpc, training_pb2, training_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Reflect: TypeAlias = """grpc.StreamStreamMultiCallable[
    reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
]"""
JOB = training_pb2.WatchTrainingJobRequest(name="trainingJobs/job_1")
WATCHERS = 1500  # more than gRPC lets wait by default


class Gate:
    """Holds calls until the test lets them go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._go = asyncio.Event()

    async def pass_through(
        self, request: catalog_pb2.GetArtifactRequest, context: Context
    ) -> catalog_pb2.GetArtifactResponse:
        self.asked.set()
        await self._go.wait()
        return catalog_pb2.GetArtifactResponse()

    def open(self) -> None:
        async def release() -> None:
            self._go.set()

        loops.run(release())


async def _watching(
    request: training_pb2.WatchTrainingJobRequest, context: Context
) -> AsyncIterator[training_pb2.WatchTrainingJobResponse]:
    """Say that the watch began, then wait for ever."""
    yield training_pb2.WatchTrainingJobResponse()
    await asyncio.Event().wait()


def _watch(running: Rig) -> Any:
    stub = training_pb2_grpc.TrainingServiceStub(running.channel)
    return stub.WatchTrainingJob(JOB, metadata=bearer("member"))


# --- addresses and options --------------------------------------------------------------------------


@pytest.mark.contract("S2-48")
def test_a_taken_port_is_told() -> None:
    with rig() as first:
        port = first.tcp.rpartition(":")[2]
        with (
            pytest.raises(server.AddressError, match=f"Port {port} is taken.*--listen"),
            rig(address=first.tcp),
        ):
            pass


def test_gRPC_itself_refuses_to_share_the_port() -> None:
    """Without our option a second server would silently take half of the calls."""

    async def bind(address: str) -> None:
        grpc.aio.server(options=server.OPTIONS).add_insecure_port(address)

    with rig() as first, pytest.raises(RuntimeError, match="Failed to bind"):
        loops.run(bind(first.tcp))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("192.0.2.1:0", "192.0.2.1:0 cannot be served on"),
        ("no-such-host.invalid:0", "no-such-host.invalid:0 cannot be served on"),
    ],
)
def test_an_address_of_another_machine_is_told(address: str, told: str) -> None:
    with pytest.raises(server.AddressError, match=told), rig(address=address):
        pass


def test_messages_may_have_the_size_of_a_chunk_and_no_more() -> None:
    gate = Gate()
    gate.open()
    with (
        rig(serving(GetArtifact=gate.pass_through)) as running,
        grpc.insecure_channel(running.tcp) as channel,
    ):
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        fits = catalog_pb2.GetArtifactRequest(name="x" * (4 * 1024 * 1024))
        stub.GetArtifact(fits, metadata=bearer("member"))
        large = catalog_pb2.GetArtifactRequest(name="x" * (server.MESSAGE_LIMIT + 1))
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            stub.GetArtifact(large, metadata=bearer("member"))


def test_many_watches_may_open_at_once() -> None:
    with rig(serving(WatchTrainingJob=_watching)) as running:

        async def open_all() -> int:
            async with grpc.aio.insecure_channel(f"unix:{running.socket}") as channel:
                stub = training_pb2_grpc.TrainingServiceStub(channel)
                watches = [stub.WatchTrainingJob(JOB, metadata=bearer("member")) for _ in range(WATCHERS)]
                replies = await asyncio.gather(*(watch.read() for watch in watches))
                return sum(isinstance(reply, training_pb2.WatchTrainingJobResponse) for reply in replies)

        assert loops.run(open_all()) == WATCHERS


# --- health and reflection --------------------------------------------------------------------------


def _check(running: Rig, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(running.channel)
    status: int = stub.Check(health_pb2.HealthCheckRequest(service=service)).status
    return status


def test_health_of_the_server_and_of_each_service_needs_no_credential() -> None:
    with rig() as running:
        for service in ["", *(each.full_name for each in methods.services())]:
            assert _check(running, service) == health_pb2.HealthCheckResponse.SERVING
        assert running.activities == []


def test_health_and_reflection_can_be_switched_off() -> None:
    with rig(health=False, reflection=False) as running:
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            _check(running, "")
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            _reflect(running, "v1", reflection_pb2.ServerReflectionRequest(list_services=""))


def _reflect(
    running: Rig, version: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    call: Reflect = running.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return next(iter(call(iter([request]))))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_and_describes_every_service(version: str) -> None:
    with rig() as running:
        listed = _reflect(running, version, reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {service.name for service in listed.list_services_response.service}
        assert {service.full_name for service in methods.services()} | {"grpc.health.v1.Health"} <= names
        for name in names:  # a name without a description breaks the clients that list
            asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
            assert _reflect(running, version, asked).file_descriptor_response.file_descriptor_proto


# --- the end ----------------------------------------------------------------------------------------


def test_draining_ends_watches_at_once_and_tells_them_to_come_back() -> None:
    waits = threading.Event()  # its first reply is out: one that is ended while sending is cut without words

    async def watching(
        request: training_pb2.WatchTrainingJobRequest, context: Context
    ) -> AsyncIterator[training_pb2.WatchTrainingJobResponse]:
        yield training_pb2.WatchTrainingJobResponse()
        waits.set()
        await asyncio.Event().wait()

    with rig(serving(WatchTrainingJob=watching)) as running:
        watch = _watch(running)
        next(watch)
        assert waits.wait(100)
        running.drain(grace=60)
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in caught.value.details()
    assert eventually(lambda: running.activities)[0].code == "UNAVAILABLE"


def test_draining_lets_running_calls_finish_and_takes_no_new_ones() -> None:
    gate = Gate()
    with rig(serving(GetArtifact=gate.pass_through)) as running:
        stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
        request = catalog_pb2.GetArtifactRequest()
        health = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
        assert next(health).status == health_pb2.HealthCheckResponse.SERVING
        first = stub.GetArtifact.future(request, metadata=bearer("member"))
        assert gate.asked.wait(100)
        drained = threading.Thread(target=running.drain, args=(60.0,))
        drained.start()
        assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
        late = stub.GetArtifact.future(request, metadata=bearer("member")).exception(100)
        assert "shutting down" in str(late)
        gate.open()
        assert first.result(100) == catalog_pb2.GetArtifactResponse()
        drained.join(100)
        assert not drained.is_alive()


def test_what_does_not_finish_within_the_grace_is_ended_and_told() -> None:
    gate = Gate()
    with rig(serving(GetArtifact=gate.pass_through)) as running:
        stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
        call = stub.GetArtifact.future(catalog_pb2.GetArtifactRequest(), metadata=bearer("member"))
        assert gate.asked.wait(100)
        running.drain(grace=0.05)
        error = call.exception(100)
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in error.details()


def test_draining_a_quiet_server_takes_no_time() -> None:
    with rig() as running:
        began = time.monotonic()
        running.drain(grace=90)
        assert time.monotonic() - began < 60
