"""Tails: a slow watcher costs nothing, a quick one never misses what is announced."""

import asyncio
from collections.abc import Awaitable, Callable

from helpers import loops
from ingot.server.core.events import Event, Progress
from ingot.server.rpc.tails import RING, Tail, Tails, wait_any

JOB = "trainingJobs/job_1"


def events(first: int, last: int) -> list[Event]:
    return [Event(seq, 0.0, 1, seq, Progress(done=seq)) for seq in range(first, last + 1)]


def seqs(tail: Tail, after: int) -> list[int]:
    return [each.seq for each in tail.after(after)]


def test_the_ring_answers_for_its_part_only() -> None:
    tail = Tail()
    assert seqs(tail, 0) == []
    tail.deliver(events(1, RING + 10))
    assert seqs(tail, RING + 8) == [RING + 9, RING + 10]
    assert len(tail.after(10)) == RING
    assert seqs(tail, 9) == [], "what is older is for the database"
    assert seqs(tail, RING + 10) == []
    tail.deliver(events(RING + 11, RING + 11))
    assert seqs(tail, RING + 10) == [RING + 11]


def test_a_log_that_does_not_follow_on_empties_the_ring() -> None:
    tail = Tail()
    tail.deliver(events(1, 5))
    tail.deliver(events(9, 9))
    assert seqs(tail, 4) == []
    assert seqs(tail, 8) == [9]


def on_loop(test: Callable[[Tails], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(Tails())

    loops.run(run())


def test_what_is_published_from_a_thread_wakes_the_watcher() -> None:
    async def test(tails: Tails) -> None:
        with tails.watch(JOB) as tail:
            version = tail.version
            await asyncio.to_thread(tails.publish, JOB, events(1, 2))
            assert await tail.wait(version, 100)
            assert seqs(tail, 0) == [1, 2]
            assert await tail.wait(version, 0), "what changed before the wait counts"
            assert not await tail.wait(tail.version, 0)

    on_loop(test)


def test_nobody_watching_means_nothing_kept() -> None:
    async def test(tails: Tails) -> None:
        tails.publish(JOB, events(1, 1))
        with tails.watch(JOB) as one, tails.watch(JOB) as two:
            assert one is two
            assert seqs(one, 0) == []
            tails.wake("work")
        with tails.watch(JOB) as anew:
            assert anew is not one

    on_loop(test)


def test_waiting_for_any_of_two() -> None:
    async def test(tails: Tails) -> None:
        with tails.watch("work") as work, tails.watch("workers/worker_1") as own:
            versions = [(work, work.version), (own, own.version)]
            tails.wake("workers/worker_1")
            await asyncio.wait_for(wait_any(versions, 100), 50)
            assert own.version == versions[1][1] + 1
            assert work.version == versions[0][1]

    on_loop(test)
