"""Which lanes go to data processes, and when they go on without."""

import pytest

from ingot.client import Endpoint
from ingot.client._data_lanes import DataTargets
from ingot.client._errors import LimitReached, NotAllowed, ServerFault, TimedOut, Unreachable

UNIX = Endpoint("unix:/run/ingot/server.sock")
GONE = Unreachable("gone", reason="UNAVAILABLE")


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def targets(endpoint: Endpoint, *addresses: str, clock: Time | None = None) -> DataTargets:
    found = DataTargets(endpoint, clock or Time())
    found.told(addresses)
    return found


@pytest.mark.parametrize(
    ("endpoint", "address", "target"),
    [
        (Endpoint("ingot.example:7070", tls=True), ":7071", "ingot.example:7071"),
        (Endpoint("[::1]:7070", tls=True), ":7071", "[::1]:7071"),
        (UNIX, "unix:/run/ingot/data-1.sock", "unix:/run/ingot/data-1.sock"),
        # The same port behind a tunnel, or of another host, may be anybody's.
        (Endpoint("127.0.0.1:7070"), ":7071", ""),
        (Endpoint("ingot.example:7070"), ":7071", ""),
        (Endpoint("ingot.example:7070", tls=True), "evil.example:7071", ""),
        (Endpoint("ingot.example:7070", tls=True), "unix:/tmp/evil.sock", ""),
        (Endpoint("ingot.example:7070", tls=True), ":", ""),
        (UNIX, "unix:/tmp/evil.sock", ""),
        (UNIX, ":7071", ""),
    ],
)
def test_only_where_it_is_certain_who_answers(endpoint: Endpoint, address: str, target: str) -> None:
    assert targets(endpoint, address).of(0) == target


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [(UNIX, False), (Endpoint("a.example:7070", tls=True), False), (Endpoint("127.0.0.1:7070"), True)],
)
def test_who_could_use_none_of_them_need_not_ask(endpoint: Endpoint, asked: bool) -> None:
    found = DataTargets(endpoint)
    assert found.asked is asked
    found.told([])
    assert found.asked


def test_lanes_spread_over_all_of_them() -> None:
    names = [f"unix:/run/ingot/data-{number}.sock" for number in (1, 2, 3)]
    found = targets(UNIX, *names)
    assert sorted(found.of(lane) for lane in range(3)) == names
    assert [found.of(lane) for lane in range(3)] == [found.of(lane) for lane in range(3, 6)]


def test_one_that_is_gone_is_left_out_for_a_while() -> None:
    clock = Time()
    found = targets(UNIX, "unix:/run/ingot/data-1.sock", "unix:/run/ingot/data-2.sock", clock=clock)
    first = found.of(0)
    found.works(0)
    assert found.leave(0, GONE)
    assert first not in {found.of(lane) for lane in range(4)}
    assert found.leave(0, GONE)
    assert {found.of(lane) for lane in range(4)} == {""}
    assert not found.leave(0, GONE)  # that was the main address: its failures are met as ever
    clock.now += 31
    assert first in {found.of(lane) for lane in range(4)}


@pytest.mark.parametrize(
    ("error", "at_first", "later"),
    [
        (GONE, True, True),
        (TimedOut("silent", reason="DEADLINE_EXCEEDED"), True, True),
        (TimedOut("you are slow", reason="TOO_SLOW"), False, False),
        (NotAllowed("who?", reason="TOKEN_INVALID"), True, False),
        (ServerFault("what?", reason="UNIMPLEMENTED"), True, False),
        (LimitReached("too many", reason="BUSY"), False, False),
    ],
)
def test_what_a_stranger_might_answer_counts_only_at_first(
    error: Unreachable, at_first: bool, later: bool
) -> None:
    found = targets(UNIX, "unix:/run/ingot/data-1.sock")
    found.of(0)
    assert found.leave(0, error) is at_first
    found = targets(UNIX, "unix:/run/ingot/data-1.sock")
    found.of(0)
    found.works(0)
    assert found.leave(0, error) is later
