"""How many calls one may make: a burst, then a steady pace, each principal and each address for itself."""

import logging
from typing import Any

import grpc
import pytest

from helpers.pipelines import bearer, rig, serving
from helpers.servers import running_server
from helpers.transfers import refused
from ingot.server.core.errors import Exhausted
from ingot.server.rpc.call_rates import Allowance, CallRates
from ingot.v1 import system_pb2, system_pb2_grpc, transfer_pb2, transfer_pb2_grpc

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def taken(rates: CallRates, who: str, now: float, calls: int) -> int:
    """Return how many of so many calls at one moment were let through."""
    let = 0
    for _ in range(calls):
        try:
            rates.take(who, now)
        except Exhausted:
            continue
        let += 1
    return let


def test_a_burst_then_the_pace_and_a_pause_fills_it_again() -> None:
    rates = CallRates(Allowance(per_second=10, burst=5), Allowance())
    assert taken(rates, "users/sara", 100.0, 9) == 5
    assert taken(rates, "users/sara", 100.2, 9) == 2
    assert taken(rates, "users/omid", 100.2, 9) == 5
    assert taken(rates, "users/sara", 200.0, 9) == 5


def test_the_refusal_says_when_there_will_be_one() -> None:
    rates = CallRates(Allowance(per_second=4, burst=1), Allowance())
    rates.take("users/sara", 10.0)
    with pytest.raises(Exhausted) as caught:
        rates.take("users/sara", 10.0)
    assert caught.value.retry_after == pytest.approx(0.25)
    rates.take("users/sara", 10.25)


def test_zero_is_no_limit_and_the_unix_socket_needs_none() -> None:
    assert taken(CallRates(Allowance(), Allowance()), "users/sara", 1.0, 1000) == 1000
    rates = CallRates(Allowance(), Allowance(per_second=1, burst=1))
    for _ in range(10):
        rates.take_stranger("local", 1.0)
    rates.take_stranger("10.0.0.1", 1.0)
    with pytest.raises(Exhausted):
        rates.take_stranger("10.0.0.1", 1.0)
    rates.take_stranger("10.0.0.2", 1.0)
    rates.take_stranger("2001:db8::1", 1.0)
    with pytest.raises(Exhausted):  # an IPv6 network is one place: whoever has an address has them all
        rates.take_stranger("2001:db8::2", 1.0)
    rates.take_stranger("2001:db8:0:1::1", 1.0)


def test_a_flood_of_addresses_takes_bounded_memory_and_the_log_stays_quiet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rates = CallRates(Allowance(per_second=1, burst=1), Allowance(per_second=1, burst=1))
    for number in range(30_000):
        rates.take_stranger(f"address-{number}", number / 1000)
    assert len(rates._buckets) <= 10_000
    with caplog.at_level(logging.WARNING):
        assert taken(rates, "users/sara", 50.0, 500) == 1
    assert len(caplog.records) == 1


@pytest.mark.contract("S3-45")
def test_an_upload_flood_is_told_to_wait_and_others_go_on() -> None:
    rates = CallRates(Allowance(per_second=0.001, burst=3), Allowance())

    async def begin(
        request: transfer_pb2.BeginUploadRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> transfer_pb2.BeginUploadResponse:
        return transfer_pb2.BeginUploadResponse()

    with rig(serving(BeginUpload=begin), rates=rates) as server:
        stub = transfer_pb2_grpc.TransferServiceStub(server.channel)
        request = transfer_pb2.BeginUploadRequest()
        for _ in range(3):
            stub.BeginUpload(request, metadata=bearer("member"))
        with refused(EXHAUSTED, "RATE_LIMITED") as facts:
            stub.BeginUpload(request, metadata=bearer("member"))
        assert (facts["calls_per_second"], facts["burst"]) == ("0.001", "3")
        stub.BeginUpload(request, metadata=bearer("admin"))
        assert [each.code for each in server.activities] == ["OK"] * 4  # what is refused is not recorded


def test_strangers_are_limited_by_address_whatever_they_send() -> None:
    rates = CallRates(Allowance(), Allowance(per_second=0.001, burst=2))

    async def info(
        request: system_pb2.GetServerInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> system_pb2.GetServerInfoResponse:
        return system_pb2.GetServerInfoResponse()

    with rig(serving(GetServerInfo=info), rates=rates) as server:
        channel = grpc.insecure_channel(server.tcp)
        stub, request = system_pb2_grpc.SystemServiceStub(channel), system_pb2.GetServerInfoRequest()
        stub.GetServerInfo(request)
        stub.GetServerInfo(request, metadata=bearer("no token"))
        with refused(EXHAUSTED, "RATE_LIMITED"):
            stub.GetServerInfo(request)
        with refused(EXHAUSTED, "RATE_LIMITED"):
            stub.GetServerInfo(request, metadata=bearer("no token"))
        stub.GetServerInfo(request, metadata=bearer("member"))  # with a good credential it is no stranger
        channel.close()


def test_the_settings_count_and_capabilities_tell_them(tmp_path: Any) -> None:
    with running_server(tmp_path, calls_per_second=0.001, call_burst=4) as server:
        member = server.member()
        told = member.transfer.GetCapabilities(transfer_pb2.GetCapabilitiesRequest())
        assert (told.calls_per_second, told.call_burst) == (0.001, 4)
        for _ in range(3):
            member.transfer.GetCapabilities(transfer_pb2.GetCapabilitiesRequest())
        with refused(EXHAUSTED, "RATE_LIMITED"):
            member.transfer.GetCapabilities(transfer_pb2.GetCapabilitiesRequest())
