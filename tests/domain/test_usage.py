"""Rules of usage: what is gathered, what is written, and what a flood may not do."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from helpers.schema import migrated
from ingot.server.core.clock import SystemClock
from ingot.server.core.identity import Caller, Role, system_caller
from ingot.server.core.pages import Page, PageTokens
from ingot.server.core.usage import Activity, ActivityFilter
from ingot.server.domain import usage as usage_rules
from ingot.server.domain.usage import Usage
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.usage_sql import UsageSql


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_database("sqlite:///:memory:")
    migrated(opened)
    yield opened
    opened.close()


@pytest.fixture
def usage() -> Usage:
    return Usage(UsageSql(), PageTokens(b"secret"), SystemClock(), activity_days=30)


def _activity(number: int = 0, time: float = 1e9) -> Activity:
    return Activity(time, "get", "M/Get", "t", "users/a", "", "local", "OK", 0.1, f"call-{number}")


def _flush(database: Database, usage: Usage) -> None:
    database.write(usage.write, usage.take()).result()


def _page(
    database: Database, usage: Usage, *, target: str = "", size: int = 1000, token: str = ""
) -> Page[Activity]:
    caller = system_caller()
    return database.read(usage.activities, caller, ActivityFilter(target=target), size, token)


def _listed(database: Database, usage: Usage) -> list[str]:
    return [activity.call_id for activity in _page(database, usage).items]


def test_nothing_is_written_before_a_flush_and_nothing_twice(database: Database, usage: Usage) -> None:
    usage.record(_activity(1))
    usage.record(_activity(2))
    assert _listed(database, usage) == []
    assert usage.pending()
    _flush(database, usage)
    assert not usage.pending()
    _flush(database, usage)
    assert _listed(database, usage) == ["call-2", "call-1"]


def test_more_rows_than_one_statement_takes_are_written(database: Database, usage: Usage) -> None:
    for number in range(1234):
        usage.record(_activity(number))
    _flush(database, usage)
    assert len(_listed(database, usage)) == 1000
    assert database.read(
        usage.activities, system_caller(), ActivityFilter(target="t", action="get"), 0, ""
    ).next_token


def test_a_flood_is_cut_and_told(database: Database, usage: Usage, caplog: pytest.LogCaptureFixture) -> None:
    limit = usage_rules.MOST_WAITING
    for number in range(limit + 3):
        usage.record(_activity(number))
    _flush(database, usage)
    assert "usage.activities_dropped count=3" in caplog.text
    usage.record(_activity(-1))
    _flush(database, usage)
    assert _listed(database, usage)[0] == "call--1"


@pytest.mark.contract("S3-50")
def test_old_activities_are_forgotten(database: Database, usage: Usage) -> None:
    now = SystemClock().now()
    usage.record(_activity(1, now - 31 * 24 * 3600))
    usage.record(_activity(2, now - 29 * 24 * 3600))
    _flush(database, usage)
    assert database.write(usage.forget_old).result() == 1
    assert _listed(database, usage) == ["call-2"]


def test_a_page_token_belongs_to_its_query(database: Database, usage: Usage) -> None:
    for number in range(3):
        usage.record(_activity(number))
    _flush(database, usage)
    caller = system_caller()
    token = database.read(usage.activities, caller, ActivityFilter(), 2, "").next_token
    with pytest.raises(Exception, match="another query"):
        database.read(usage.activities, caller, ActivityFilter(target="t"), 2, token)


def test_what_could_not_be_written_is_kept_in_its_order(database: Database, usage: Usage) -> None:
    usage.record(_activity(1))
    usage.accessed(system_caller(), "uid")
    taken = usage.take()
    assert not usage.pending()
    usage.record(_activity(2))
    usage.put_back(taken)  # as after a full disk
    _flush(database, usage)
    assert _listed(database, usage) == ["call-2", "call-1"]
    assert database.read(usage.of, ["uid"])["uid"].access_count == 1


def test_what_is_put_back_is_bounded_too(
    database: Database, usage: Usage, caplog: pytest.LogCaptureFixture
) -> None:
    limit = usage_rules.MOST_WAITING
    for number in range(limit):
        usage.record(_activity(number))
    taken = usage.take()
    for number in range(5):
        usage.record(_activity(number))
    usage.put_back(taken)
    assert len(usage.take().activities) == limit
    usage.put_back(taken)
    _flush(database, usage)
    assert "usage.activities_dropped" not in caplog.text


def test_forgetting_takes_small_steps(database: Database, usage: Usage) -> None:
    old = SystemClock().now() - 31 * 24 * 3600
    for number in range(usage_rules.FORGET_AT_ONCE + 10):
        usage.record(_activity(number, old))
    _flush(database, usage)
    assert database.write(usage.forget_old).result() == usage_rules.FORGET_AT_ONCE
    assert database.write(usage.forget_old).result() == 10
    assert database.write(usage.forget_old).result() == 0


def test_a_list_of_an_artifact_or_a_namespace_has_what_belongs_to_it(
    database: Database, usage: Usage
) -> None:
    targets = (
        "namespaces/a/models/Tiny",
        "namespaces/a/models/tiny/versions/3",
        "namespaces/a/models/tiny2",
        "namespaces/a",
        "uploads/file_1",
        "namespaces/",
    )
    for number, target in enumerate(targets):
        usage.record(dataclasses.replace(_activity(number), target=target))
    _flush(database, usage)

    def listed(target: str) -> list[str]:
        return [each.target for each in _page(database, usage, target=target).items]

    assert listed("namespaces/a/models/tiny") == [targets[1], targets[0]]
    assert listed("namespaces/a/models/tiny/versions/3") == [targets[1]]
    assert listed("namespaces/a") == [targets[3], targets[2], targets[1], targets[0]]
    assert listed("uploads/file_1") == [targets[4]]
    assert listed("namespaces/") == [targets[5]]


def test_members_see_their_own_whoever_they_ask_for(database: Database, usage: Usage) -> None:
    usage.record(_activity(1))
    usage.record(dataclasses.replace(_activity(2), principal="users/b", reason="BUSY"))
    _flush(database, usage)
    sara = dataclasses.replace(system_caller(), role=Role.MEMBER, principal="users/a")

    def listed(caller: Caller, **wanted: Any) -> list[str]:
        page = database.read(usage.activities, caller, ActivityFilter(**wanted), 0, "")
        return [each.call_id for each in page.items]

    assert listed(sara) == listed(sara, principal="users/a") == ["call-1"]
    assert listed(sara, principal="users/b") == []
    assert listed(system_caller(), principal="users/b") == ["call-2"]
    assert listed(system_caller(), failed=True) == ["call-2"]
    assert listed(sara, failed=True) == []


def test_what_bodies_of_operations_read_is_nobodys_use(usage: Usage) -> None:
    usage.accessed(dataclasses.replace(system_caller(), operation="operations/op_1"), "uid")
    assert not usage.pending()
