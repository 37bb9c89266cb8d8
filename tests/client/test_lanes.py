"""Lanes: work side by side, the first failure stops all, more lanes only while they help."""

import threading
from collections.abc import Callable

import pytest

from helpers.eventually import eventually
from ingot.client._lanes import Growth, Lanes, LaneStopped
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
            lanes.wait(100)
        except LaneStopped:
            stopped.set()
            raise

    with Lanes[int](work, fixed=2) as lanes:
        lanes.submit(1)
        lanes.submit(0)
        with pytest.raises(KeyError, match="broken"):
            lanes.drain()
    assert stopped.wait(100)


def settled(link: Callable[[int], float], windows: int, growth: Growth) -> list[int]:
    """Return how many lanes are used in each window over a link whose rate depends on their number."""
    used: list[int] = []
    for _ in range(windows):
        used.append(growth.wanted)
        growth.told(link(growth.wanted))
    return used


def test_over_a_latency_lanes_are_added_until_the_link_is_full() -> None:
    # Each lane waits for answers most of the time and moves 10; the link takes 63.
    used = settled(lambda lanes: min(10.0 * lanes, 63.0), 40, Growth(2, 16))
    assert used[:7] == [2, 3, 4, 5, 6, 7, 6]
    assert set(used[7:]) == {6, 7}
    assert settled(lambda lanes: 10.0 * lanes, 40, Growth(2, 16))[-1] == 16


def test_where_more_lanes_do_not_help_they_are_taken_back() -> None:
    used = settled(lambda _: 100.0, 100, Growth(3, 16))
    assert used[:3] == [3, 4, 3]
    assert used.count(4) <= 5  # tried again, less and less often
    slower = settled(lambda lanes: 100.0 / lanes, 100, Growth(3, 16))
    assert set(slower) == {3, 4}


def test_a_link_that_becomes_faster_is_noticed() -> None:
    growth = Growth(2, 16)
    settled(lambda _: 10.0, 30, growth)
    assert growth.wanted == 2
    settled(lambda lanes: 10.0 * lanes, 60, growth)
    assert growth.wanted == 16


def test_a_crowded_server_sets_the_bound() -> None:
    growth = Growth(4, 16)
    growth.crowded()
    assert max(settled(lambda lanes: 10.0 * lanes, 100, growth)) == 3
    for _ in range(5):
        growth.crowded()
    assert growth.wanted == 1


def test_what_moves_in_a_second_opens_and_ends_lanes() -> None:
    now, turn = [0.0], threading.Semaphore(0)

    def work(lane: int, item: int) -> None:
        assert turn.acquire(timeout=100)

    with Lanes[int](work, first=3, most=8, clock=lambda: now[0]) as lanes:
        for item in range(1000):
            lanes.submit(item)

        def moved(rate: int) -> None:
            now[0] += 1.0
            lanes.moved(rate)

        def open_lanes() -> int:
            return len(lanes._threads)

        assert eventually(open_lanes) == 3
        moved(300)
        assert open_lanes() == 4
        moved(400)
        assert open_lanes() == 5
        moved(401)

        def ended() -> bool:
            turn.release()  # each lane ends what it does first
            return open_lanes() == 4

        assert eventually(ended)
        turn.release(1000)
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


def test_a_thin_path_gets_fewer_lanes_for_a_good_while() -> None:
    growth = Growth(3, 16)
    for _ in range(5):
        growth.slower()
    used = settled(lambda _: 100.0, 150, growth)
    assert used[0] == 1
    assert used.count(2) <= 2  # tried again after a minute
    assert settled(lambda lanes: 10.0 * lanes, 150, growth)[-1] == 16


def test_a_lane_too_many_hands_back_what_is_left() -> None:
    done: list[tuple[int, str]] = []
    begun = threading.Barrier(2)

    def work(lane: int, item: str) -> None:
        if item in ("a", "b"):
            begun.wait(100)
            if lane == 1:
                lanes.slower()
                assert lanes.give_back(lane, f"rest of {item}")
                return
        assert not lanes.give_back(lane, item)
        done.append((lane, item))

    with Lanes[str](work, fixed=2) as lanes:
        for item in ("a", "b", "c"):
            lanes.submit(item)
        lanes.drain()
    assert sorted(lane for lane, _ in done) == [0, 0, 0]
    assert {item for _, item in done} in ({"a", "rest of b", "c"}, {"b", "rest of a", "c"})


def test_a_rate_books_time_ahead() -> None:
    now = [100.0]
    rate = Rate(1000, clock=lambda: now[0])
    assert [rate.reserve(500), rate.reserve(500), rate.reserve(1000)] == [0, 0.5, 1.0]
    now[0] = 110.0
    assert rate.reserve(1) == 0
    assert Rate(0).reserve(10**12) == 0
