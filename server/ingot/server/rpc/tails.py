"""Waking watchers: what was appended to a log reaches those who follow it, without a queue for any of them.

One `Tail` per watched topic holds the last events in a ring. Each watcher remembers only the number it has
handled: it reads the ring while that reaches back far enough and the database otherwise, so a slow watcher
costs no memory and loses nothing. Writers publish from their own thread after the commit; everything else
here lives on the event loop.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence

from ingot.server.core.events import Event

RING = 512


class Tail:
    """The end of one log, and the news that a topic has changed."""

    def __init__(self) -> None:
        self.version = 0  # grows with every change
        self.watchers = 0
        self._ring: deque[Event] = deque(maxlen=RING)
        self._changed = asyncio.Event()

    def after(self, seq: int) -> Sequence[Event]:
        """Return the events that follow `seq`; empty when there are none, or the ring starts too late."""
        if not self._ring or not self._ring[0].seq - 1 <= seq < self._ring[-1].seq:
            return ()
        return list(self._ring)[seq + 1 - self._ring[0].seq :]

    async def wait(self, version: int, seconds: float) -> bool:
        """Wait until the version is another than `version`; return False when the time is up before."""
        if self.version != version:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        return self.version != version

    def deliver(self, events: Sequence[Event]) -> None:
        """Take in new events, which follow on those before, and wake the watchers."""
        if self._ring and events and events[0].seq != self._ring[-1].seq + 1:
            self._ring.clear()  # never happens while the log is only appended to; then the database is asked
        self._ring.extend(events)
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


class Tails:
    """All tails that somebody watches; implements Announcer."""

    def __init__(self) -> None:
        self._tails: dict[str, Tail] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def watch(self, topic: str) -> Iterator[Tail]:
        """Follow a topic for the length of a with block, on the event loop.

        Enter before reading what there is: what is committed from then on is announced.
        """
        self._loop = asyncio.get_running_loop()
        tail = self._tails.setdefault(topic, Tail())
        tail.watchers += 1
        try:
            yield tail
        finally:
            tail.watchers -= 1
            if not tail.watchers:
                del self._tails[topic]

    def publish(self, subject: str, events: Sequence[Event]) -> None:
        """Hand events just committed to the watchers of their log; may be called from any thread."""
        loop = self._loop
        # A watcher that comes a moment later reads the rows, which are committed by now.
        if loop is not None and subject in self._tails and not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver, subject, events)

    def wake(self, topic: str) -> None:
        """Wake the watchers of a topic; may be called from any thread."""
        self.publish(topic, ())

    def _deliver(self, topic: str, events: Sequence[Event]) -> None:
        tail = self._tails.get(topic)
        if tail is not None:
            tail.deliver(events)


async def wait_any(waits: Sequence[tuple[Tail, int]], seconds: float) -> None:
    """Wait until one of the tails has another version than the one given with it, or the time is up."""
    tasks = [asyncio.ensure_future(tail.wait(version, seconds)) for tail, version in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
