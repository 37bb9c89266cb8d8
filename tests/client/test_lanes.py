"""Lanes: work side by side, the first failure stops all, more lanes only while they help."""

import threading

import pytest

from helpers.eventually import eventually
from ingot.client._lanes import Lanes, LaneStopped
from ingot.client._rates import Rate


def test_every_item_is_done_once_and_lanes_are_told_apart() -> None:
    done: list[tuple[int, int]] = []
    with Lanes[int](lambda lane, item: done.append((lane, item)), fixed=3) as lanes:
        for item in range(50):
            lanes.submit(item)
        lanes.drain()
    assert sorted(item for _, item in done) == list(range(50))
    assert {lane for lane, _ in done} <= {0, 1, 2}


def test_the_first_failure_reaches_the_caller_and_stops_the_others() -> None:
    stopped = threading.Event()

    def work(lane: int, item: int) -> None:
        if item == 0:
            raise KeyError("broken")
        try:
            lanes.wait(60)
        except LaneStopped:
            stopped.set()
            raise

    with Lanes[int](work, fixed=2) as lanes:
        lanes.submit(1)
        lanes.submit(0)
        with pytest.raises(KeyError, match="broken"):
            lanes.drain()
    assert stopped.wait(5)


def test_more_lanes_open_while_each_brings_a_tenth_more() -> None:
    gate = threading.Event()

    def work(lane: int, item: int) -> None:
        assert gate.wait(30)

    with Lanes[int](work, most=8) as lanes:
        for item in range(20):
            lanes.submit(item)

        def open_lanes() -> int:
            return len(lanes._threads)

        assert eventually(open_lanes) == 3
        lanes._adapt(100.0)
        assert open_lanes() == 4
        lanes._adapt(150.0)
        assert open_lanes() == 5
        lanes._adapt(155.0)
        lanes._adapt(500.0)
        assert open_lanes() == 5
        gate.set()
        lanes.drain()


def test_a_crowded_server_gets_fewer_lanes_and_all_is_done() -> None:
    used: list[int] = []

    def work(lane: int, item: int) -> None:
        if item == 0:
            for _ in range(5):
                lanes.crowded()
        used.append(lane)

    with Lanes[int](work, fixed=3) as lanes:
        lanes.submit(0)
        lanes.drain()
        for item in range(1, 30):
            lanes.submit(item)
        lanes.drain()
    assert len(used) == 30
    assert set(used[1:]) == {0}


def test_a_rate_books_time_ahead() -> None:
    now = [100.0]
    rate = Rate(1000, clock=lambda: now[0])
    assert [rate.reserve(500), rate.reserve(500), rate.reserve(1000)] == [0, 0.5, 1.0]
    now[0] = 110.0
    assert rate.reserve(1) == 0
    assert Rate(0).reserve(10**12) == 0
