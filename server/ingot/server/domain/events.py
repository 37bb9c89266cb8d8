"""The event log as rules use it: append inside a write, tell the watchers after its commit, read by number.

What is appended becomes visible to readers and watchers together with the change it tells of, or not at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ingot.server.core.clock import Clock
from ingot.server.core.errors import OutOfRange, Reason
from ingot.server.core.events import (
    Announcer,
    Bounds,
    Event,
    EventKind,
    LogLevel,
    NewEvent,
)
from ingot.server.core.training_stores import EventStore

AfterCommit = Callable[[Callable[[], None]], None]
_TRIM_EVERY = 4096  # events between two looks at whether a log has become too long


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some events of a log in order, and the number after which to go on.

    `latest` is the last number given; `ended` says that nothing is left and no more will come.
    """

    events: Sequence[Event]
    position: int
    latest: int
    ended: bool


class EventLog:
    """Event logs of all subjects. Methods run inside a unit of work.

    `after_commit` registers a hook of the write that runs now; `keep` is the number of events kept per log.
    """

    def __init__(
        self, store: EventStore, after_commit: AfterCommit, announcer: Announcer, clock: Clock, keep: int
    ) -> None:
        self._store = store
        self._after_commit = after_commit
        self._announcer = announcer
        self._clock = clock
        self._keep = keep

    def append(self, subject: str, attempt: int, events: Sequence[NewEvent]) -> Sequence[Event]:
        """Append events and return the new ones; repeated producer numbers are skipped."""
        if not events:
            return ()
        new = self._store.append(subject, attempt, events, self._clock.now())
        if not new:
            return ()
        if new[-1].seq // _TRIM_EVERY != (new[0].seq - 1) // _TRIM_EVERY:
            self._store.trim(subject, self._keep)
        self._after_commit(partial(self._announcer.publish, subject, new))
        return new

    def wake(self, topic: str) -> None:
        """Wake whoever waits for a topic once this write is durable."""
        self._after_commit(partial(self._announcer.wake, topic))

    def read(
        self,
        subject: str,
        after: int,
        limit: int,
        *,
        kind: EventKind | None = None,
        min_level: LogLevel | None = None,
        rank: int | None = None,
    ) -> Sequence[Event]:
        """Return up to `limit` events after a number; 0 starts with the oldest that is kept.

        Raises OutOfRange (RESUME_TOKEN_EXPIRED) with the oldest number kept when events in between are gone,
        and when the log never had that number.
        """
        bounds = self._store.bounds(subject)
        if (after and after < bounds.oldest - 1) or after > bounds.latest:
            raise _expired(subject, after, bounds)
        return self._store.read(subject, after, limit, kind=kind, min_level=min_level, rank=rank)

    def before_last(
        self, subject: str, count: int, *, min_level: LogLevel | None = None, rank: int | None = None
    ) -> int:
        """Return the number after which the last `count` log lines come."""
        return self._store.before_last(subject, count, min_level=min_level, rank=rank)

    def bounds(self, subject: str) -> Bounds:
        """Return the oldest number kept and the last one given."""
        return self._store.bounds(subject)

    def delete(self, subject: str) -> None:
        """Forget a log and wake its watchers, who then find nothing."""
        self._store.delete(subject)
        self.wake(subject)


def _expired(subject: str, after: int, bounds: Bounds) -> OutOfRange:
    return OutOfRange(
        Reason.RESUME_TOKEN_EXPIRED,
        f"The log of {subject} holds events {bounds.oldest} to {bounds.latest}, but {after} was named.",
        next_step=f"Read the resource again, then watch after {max(bounds.oldest - 1, 0)}.",
        facts={"oldest_seq": str(bounds.oldest), "latest_seq": str(bounds.latest), "after": str(after)},
    )
