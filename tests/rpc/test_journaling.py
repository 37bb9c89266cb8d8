"""What makes the entries of calls, by itself: one for each call, none for nothing, few of a flood."""

import dataclasses

import pytest

from helpers import loops
from helpers.catalogs import StandingClock
from ingot.server.core import journal
from ingot.server.core.audit import Deed
from ingot.server.core.usage import Activity
from ingot.server.rpc import journaling, methods
from ingot.server.rpc.calls import Call
from ingot.server.rpc.journaling import MOST_REFUSED, Journaling

CREATE = methods.all_methods()["/ingot.v1.CatalogService/CreateArtifact"]
GET = methods.all_methods()["/ingot.v1.CatalogService/GetArtifact"]


@dataclasses.dataclass
class Log:
    """Counts changed rows as a test says, and keeps what is entered and recorded."""

    rows: int = 0
    deeds: list[Deed] = dataclasses.field(default_factory=list)
    begun_: list[Activity] = dataclasses.field(default_factory=list)

    def append(self, deed: Deed) -> None:
        self.deeds.append(deed)

    def changes(self) -> int:
        return self.rows

    def begun(self, activity: Activity) -> int:
        self.begun_.append(activity)
        return len(self.begun_)


@pytest.fixture(name="log")
def _log() -> Log:
    return Log()


@pytest.fixture(name="made")
def _made(log: Log) -> Journaling:
    return Journaling(log, log, StandingClock())


def _call(method: methods.Method = CREATE) -> Call:
    async def begin() -> Call:
        return Call.begin(method, "ipv4:127.0.0.1:4000", {}, StandingClock())

    return loops.run(begin())


def _change(log: Log, **facts: str) -> None:
    log.rows += 1
    journal.detail(**facts)


def test_a_call_with_several_writes_has_one_entry(log: Log, made: Journaling) -> None:
    call = _call()
    made.around(call, lambda: _change(log, begun="yes"), act=False)()
    assert log.deeds == []
    made.around(call, lambda: _change(log, done="yes"), act=True)()
    made.around(call, lambda: _change(log), act=True)()
    assert [deed.facts for deed in log.deeds] == [{"begun": "yes", "done": "yes"}]
    assert (len(log.begun_), call.row) == (1, 1)
    made.ended(call)
    assert not made.pending()


def test_a_write_that_is_undone_leaves_none_and_its_repetition_one(log: Log, made: Journaling) -> None:
    call = _call()
    made.around(call, lambda: _change(log), act=True)()
    journaling.undo(call)  # the transaction was lost
    log.deeds.clear()
    made.around(call, lambda: _change(log), act=True)()
    assert len(log.deeds) == 1


def test_nothing_changed_is_no_entry(log: Log, made: Journaling) -> None:
    made.around(_call(), lambda: None, act=True)()

    def again() -> None:
        log.rows += 1  # what it forgot by the way
        journal.no_act()

    made.around(_call(), again, act=True)()
    assert log.deeds == []


def test_what_a_call_changed_that_ended_before_its_act_is_entered_later(log: Log, made: Journaling) -> None:
    call = _call()
    made.around(call, lambda: _change(log), act=False)()
    call.code = "CANCELLED"
    made.ended(call)
    made.write(made.take())
    assert [deed.code for deed in log.deeds] == ["CANCELLED"]


def test_a_flood_of_refusals_is_counted_and_not_written_out(log: Log, made: Journaling) -> None:
    for _ in range(MOST_REFUSED + 50):
        call = _call()
        call.code, call.reason = "PERMISSION_DENIED", "SCOPE_MISSING"
        made.ended(call)
    made.write(made.take())
    assert len(log.deeds) == MOST_REFUSED + 1
    assert log.deeds[0].facts == {"reason": "SCOPE_MISSING"}
    assert log.deeds[-1].facts == {"more_refused_calls": "50"}
    assert not made.pending()


def _refused(made: Journaling, reason: str) -> None:
    call = _call()
    call.code, call.reason = "PERMISSION_DENIED", reason
    made.ended(call)


def test_what_could_not_be_written_waits_before_what_came_since(log: Log, made: Journaling) -> None:
    _refused(made, "FIRST")
    taken = made.take()
    _refused(made, "SECOND")
    made.put_back(taken)  # the write failed
    made.write(made.take())
    assert [deed.facts["reason"] for deed in log.deeds] == ["FIRST", "SECOND"]


def test_what_comes_back_is_bounded_too(log: Log, made: Journaling) -> None:
    for _ in range(MOST_REFUSED + 3):
        _refused(made, "FIRST")
    taken = made.take()
    for _ in range(5):
        _refused(made, "SECOND")
    made.put_back(taken)
    made.write(made.take())
    assert [deed.facts.get("reason") for deed in log.deeds] == ["FIRST"] * MOST_REFUSED + [None]
    assert log.deeds[-1].facts == {"more_refused_calls": "8"}


def test_refused_reads_are_no_entries(log: Log, made: Journaling) -> None:
    call = _call(GET)
    call.code = "PERMISSION_DENIED"
    made.ended(call)
    assert not made.pending()


def test_facts_are_cleaned_and_bounded() -> None:
    with journal.taking() as note:
        journal.detail(**{f"fact_{number}": "x" * 10_000 for number in range(100)})
        journal.detail(fact_1="two\nlines\x00", nothing=None, empty="")
    assert len(note.facts) == journal.MOST_FACTS
    assert note.facts["fact_1"] == "two lines "
    assert max(map(len, note.facts.values())) == journal.FACT_LIMIT
    journal.detail(outside="nobody listens")
