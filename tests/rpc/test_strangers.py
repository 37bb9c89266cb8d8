"""What remains of calls that nobody answers for: cleaned names, and no more of them than an hour may hold."""

import logging
import time

import grpc
import pytest

from helpers.eventually import eventually
from helpers.pipelines import bearer, rig, serving
from ingot.server.core import pages
from ingot.server.core.usage import Activity
from ingot.server.rpc import convert_usage, methods, strangers
from ingot.server.rpc.server import MESSAGE_LIMIT
from ingot.server.rpc.strangers import Strangers
from ingot.v1 import catalog_pb2, catalog_pb2_grpc, system_pb2

EVIL = "namespaces/x\n2026-01-01 rpc.done principal=users/admin\x00\x1b[2J" + "z" * 100_000


async def _get(request: catalog_pb2.GetArtifactRequest, context: object) -> catalog_pb2.GetArtifactResponse:
    return catalog_pb2.GetArtifactResponse()


def _call(channel: grpc.Channel, name: str, token: str = "") -> None:
    stub = catalog_pb2_grpc.CatalogServiceStub(channel)
    metadata = bearer(token) if token else ()
    stub.GetArtifact.future(catalog_pb2.GetArtifactRequest(name=name), metadata=metadata).exception()


def test_names_are_cleaned_and_cut_before_they_are_logged_and_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG), rig(serving(GetArtifact=_get)) as running:
        _call(running.channel, EVIL)
        _call(running.channel, EVIL, "member")
        eventually(lambda: len(running.activities) == 2)
    for activity in running.activities:
        assert len(activity.target) == methods.TARGET_LIMIT
        assert activity.target.isprintable()
        assert " " not in activity.target
    lines = [record.getMessage() for record in caplog.records if "rpc.done" in record.getMessage()]
    assert len(lines) == 2
    for line in lines:
        assert line.isprintable()
        assert len(line) < 600


def test_a_page_of_the_longest_rows_fits_into_a_message() -> None:
    request = catalog_pb2.GetArtifactRequest(name="𒀀" * 100_000)
    longest = Activity(
        time=1e9,
        action="download",
        method="CatalogService/GetCatalogStats",
        target=methods.target_of(request),
        principal="users/" + "u" * 64,
        declared_user="𒀀" * 80,
        address="2001:db8:1111:2222:3333:4444:5555:6666",
        code="RESOURCE_EXHAUSTED",
        seconds=1.5,
        call_id="x" * 64,
    )
    messages = [convert_usage.activity_message(longest)] * pages.LARGEST_PAGE
    page = system_pb2.ListActivityResponse(activities=messages, next_page_token="t" * 1000)
    assert page.ByteSize() < MESSAGE_LIMIT


def test_calls_without_a_credential_are_recorded_up_to_a_limit_and_those_with_one_always() -> None:
    wanted, hour = strangers.OF_ONE_ADDRESS + 5, -1.0
    while hour != time.time() // strangers.HOUR:  # a new hour has an allowance of its own
        hour = time.time() // strangers.HOUR
        with rig(serving(GetArtifact=_get)) as running:
            for _ in range(wanted):
                _call(running.channel, "namespaces/a/models/b")
            for _ in range(wanted):
                _call(running.channel, "namespaces/a/models/b", "member")
            recorded = running.activities
            eventually(lambda: sum(bool(each.principal) for each in recorded) == wanted)  # noqa: B023
    assert len(recorded) - wanted == strangers.OF_ONE_ADDRESS


def test_the_log_says_how_many_were_left_out_and_the_next_hour_begins_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Strangers()
    kept = [gate.keep(f"10.0.{number // 30}.1", 1000.0) for number in range(1000)]
    assert sum(kept) == strangers.OF_ALL
    assert sum(gate.keep("10.0.0.1", 1000.0 + strangers.HOUR) for _ in range(100)) == strangers.OF_ONE_ADDRESS
    messages = [record.getMessage() for record in caplog.records]
    assert f"rpc.strangers_left_out count={1000 - strangers.OF_ALL}" in messages


def test_who_has_a_network_of_ipv6_leaves_others_their_allowance() -> None:
    gate = Strangers()
    kept = [gate.keep(f"2001:db8:1:2::{number:x}", 1000.0, guess=True) for number in range(1000)]
    assert sum(kept) == strangers.OF_ONE_ADDRESS
    assert gate.keep("2001:db8:1:3::1", 1000.0, guess=True)


def test_other_calls_leave_guessed_passwords_their_allowance() -> None:
    gate = Strangers()
    assert sum(gate.keep("10.0.0.1", 1000.0) for _ in range(100)) == strangers.OF_ONE_ADDRESS
    guesses = [gate.keep("10.0.0.1", 1000.0, guess=True) for _ in range(100)]
    assert sum(guesses) == strangers.OF_ONE_ADDRESS
