"""Following a log: signs of life in silence, and a reader that falls out of the ring loses nothing."""

import asyncio
from collections.abc import Awaitable, Callable

from helpers import loops
from ingot.server.core.events import Event, Progress
from ingot.server.domain.events import LogPage
from ingot.server.rpc.following import HEARTBEAT_SECONDS, Followed, follow
from ingot.server.rpc.tails import RING, Tails

TOPIC = "operations/op_1"


class Log:
    """A log whose every event is published when it is added, as after a commit."""

    def __init__(self) -> None:
        self.tails = Tails()
        self.events: list[Event] = []
        self.ended = False

    def add(self, count: int) -> None:
        first = len(self.events) + 1
        new = [Event(seq, 0.0, 1, seq, Progress(done=seq)) for seq in range(first, first + count)]
        self.events += new
        self.tails.publish(TOPIC, new)

    def end(self) -> None:
        self.ended = True
        self.tails.wake(TOPIC)

    async def page(self, after: int, limit: int) -> LogPage:
        await asyncio.sleep(0)
        found = self.events[after : after + limit]
        position = found[-1].seq if found else after
        latest = len(self.events)
        return LogPage(found, position, latest, self.ended and position >= latest)

    def followed(self) -> Followed[tuple[str, int]]:
        async def snapshot() -> tuple[str, int]:
            return "snapshot", len(self.events)

        return Followed(
            topic=TOPIC,
            snapshot=snapshot,
            page=self.page,
            event=lambda event: ("event", event.seq),
            synced=lambda: ("synced", 0),
            heartbeat=lambda latest: ("heartbeat", latest),
        )


def on_loop(test: Callable[[Log], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(test(Log()), 90)

    loops.run(run())


def test_silence_is_broken_by_heartbeats_with_the_latest_number() -> None:
    async def test(log: Log) -> None:
        log.add(3)
        stream = follow(log.tails, log.followed(), 2, heartbeat=0.01)
        found = [await anext(stream) for _ in range(5)]
        assert found == [("snapshot", 3), ("event", 3), ("synced", 0), ("heartbeat", 3), ("heartbeat", 3)]
        log.add(1)
        assert ("event", 4) in [await anext(stream) for _ in range(3)]
        await stream.aclose()

    on_loop(test)
    assert HEARTBEAT_SECONDS < 15, "what the API promises"


def test_a_reader_that_falls_out_of_the_ring_reads_on_from_the_rows() -> None:
    async def test(log: Log) -> None:
        stream = follow(log.tails, log.followed(), 0)
        assert [await anext(stream) for _ in range(2)] == [("snapshot", 0), ("synced", 0)]
        log.add(1)
        assert await anext(stream) == ("event", 1)
        log.add(3 * RING)  # while nobody reads
        log.end()
        rest = [seq async for kind, seq in stream if kind == "event"]
        assert rest == list(range(2, 3 * RING + 2))

    on_loop(test)


def test_a_reader_of_what_has_ended_is_told_so_and_let_go() -> None:
    async def test(log: Log) -> None:
        log.add(2)
        log.end()
        found = [each async for each in follow(log.tails, log.followed(), 0)]
        assert found == [("snapshot", 2), ("event", 1), ("event", 2), ("synced", 0)]

    on_loop(test)
