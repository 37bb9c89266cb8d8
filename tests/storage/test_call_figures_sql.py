"""Figures of calls by day: added up over writes, days, codes; problems with the last one of each reason."""

from collections.abc import Iterator

import pytest

from helpers.schema import migrated
from ingot.server.core.call_figures import Failure
from ingot.server.domain.call_figures import CallFigures, EndedCall
from ingot.server.storage.call_figures_sql import CallFiguresSql
from ingot.server.storage.database import Database, open_database

DAY = 86400.0
STORE = CallFiguresSql()


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_database("sqlite:///:memory:")
    migrated(opened)
    yield opened
    opened.close()


@pytest.fixture
def figures() -> CallFigures:
    return CallFigures(STORE)


def _ended(day: int, seconds: float | None = 0.01, *, code: str = "OK", reason: str = "") -> EndedCall:
    time = day * DAY + 5
    failure = Failure(reason, time, code, "S/M", "t", "users/a", f"on day {day}", "c") if reason else None
    return EndedCall("S/M", code, time, seconds, failure)


def _flush(database: Database, figures: CallFigures) -> None:
    database.write(figures.write, figures.take()).result()


def test_figures_of_several_writes_and_days_are_one(database: Database, figures: CallFigures) -> None:
    for day in (1, 1, 2, 3):
        figures.ended(_ended(day, day / 10))
        _flush(database, figures)
    figures.ended(_ended(3, None))
    _flush(database, figures)
    assert not figures.pending()
    (method,) = database.read(STORE.methods, 1, 2)
    assert (method.method, method.count, dict(method.codes)) == ("S/M", 3, {"OK": 3})
    assert method.seconds == pytest.approx(0.4)
    assert method.times.percentile(0.5) == pytest.approx(0.1, rel=0.07)
    assert method.times.percentile(1) == pytest.approx(0.2, rel=0.07)
    assert database.read(STORE.days, 1, 3) == {1: 2, 2: 1, 3: 2}
    (third,) = database.read(STORE.methods, 3, 3)
    assert (third.count, third.times.count) == (2, 1), "a stream that follows has no time"


def test_problems_are_told_the_most_frequent_first_with_the_last(
    database: Database, figures: CallFigures
) -> None:
    for day, reason in ((1, "BUSY"), (2, "BUSY"), (2, "BUSY"), (2, "TOKEN_INVALID")):
        figures.ended(_ended(day, code="UNAVAILABLE", reason=reason))
        _flush(database, figures)
    busy, token = database.read(STORE.problems, 2, 3)
    assert (busy.last.reason, busy.count, busy.total, dict(busy.days)) == ("BUSY", 2, 3, {2: 2})
    assert busy.last.message == "on day 2"
    assert (token.last.reason, token.count) == ("TOKEN_INVALID", 1)
    assert database.read(STORE.problems, 3, 9) == []


def test_what_could_not_be_written_is_added_to_what_came_since(
    database: Database, figures: CallFigures
) -> None:
    figures.ended(_ended(1, code="UNAVAILABLE", reason="BUSY"))
    taken = figures.take()
    figures.ended(_ended(1, code="UNAVAILABLE", reason="BUSY"))
    figures.put_back(taken)
    _flush(database, figures)
    assert database.read(STORE.days, 1, 1) == {1: 2}
    assert database.read(STORE.problems, 1, 1)[0].total == 2
