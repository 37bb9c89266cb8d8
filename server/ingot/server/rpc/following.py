"""Following one log: what it is about, every event, `synced`, and then each event as it happens.

A watcher holds nothing but the number it has sent last. Sending waits for the client (flow control), so one
that is slow is simply served later, from the ring or from the database. Training jobs and operations are
followed alike; what differs is in `Followed`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ingot.server.core.errors import invalid_field
from ingot.server.core.events import Event, StateChange
from ingot.server.domain.events import LogPage
from ingot.server.rpc.tails import Tails

HEARTBEAT_SECONDS = 10.0  # the API promises one at least every 15
BATCH = 200  # events read at a time; one may have 64 KiB

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Followed(Generic[M]):
    """One watched thing, and how its watch speaks; `M` is the message of its stream."""

    topic: str  # name of the log and of the news about it
    snapshot: Callable[[], Awaitable[M]]  # the thing as it is
    page: Callable[[int, int], Awaitable[LogPage]]  # events after a number, so many at most
    event: Callable[[Event], M]
    synced: Callable[[], M]
    heartbeat: Callable[[int], M]  # with the latest number


async def follow(
    tails: Tails, followed: Followed[M], after: int, heartbeat: float = HEARTBEAT_SECONDS
) -> AsyncGenerator[M, None]:
    """Yield the thing, its events after `after`, `synced`, and what comes; end after its final state.

    `heartbeat` is the longest silence in seconds.
    Raises Invalid (FIELD_INVALID) for a negative `after`, and what `followed` raises.
    """
    check_count("after", after)
    with tails.watch(followed.topic) as tail:
        yield await followed.snapshot()
        position, latest, synced, ended = after, after, False, False
        known = -1  # version of the tail of which all is told
        more = True  # the rows may know more: another page, or after a change of state that this is the end
        while not ended:
            version = tail.version
            events = ring = tail.after(position) if synced else ()
            if not ring and (more or version != known):  # else it would be a look for each event
                page = await followed.page(position, BATCH)
                events, latest = page.events, page.latest
                more, ended = bool(events), page.ended and not events
            known = version
            for event in events:
                yield followed.event(event)
                position = event.seq
            latest = max(latest, position)
            if events:
                more = more or any(isinstance(each.body, StateChange) for each in ring)
                continue
            if not synced:
                yield followed.synced()
                synced = True
            if not ended and not await tail.wait(version, heartbeat):
                yield followed.heartbeat(latest)


def check_count(field: str, value: int) -> None:
    """Raise Invalid (FIELD_INVALID) for a negative number."""
    if value < 0:
        raise invalid_field(field, f"expected 0 or more, got {value}", next_step="Leave it out to see all.")
