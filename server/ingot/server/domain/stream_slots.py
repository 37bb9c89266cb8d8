"""How many streams, or calls, of one kind a principal may have at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from ingot.server.core.errors import Exhausted, Reason
from ingot.server.core.identity import Caller


class StreamSlots:
    """Counts the streams of every principal that run now, `most` at once. For one thread, the loop's."""

    def __init__(self, most: int, what: str = "streams") -> None:
        self._most = most
        self._what = what
        self._running: dict[str, int] = {}

    @contextmanager
    def slot(self, caller: Caller) -> Iterator[None]:
        """Count a stream of the caller for the length of a with block. Raises Exhausted (BUSY)."""
        running = self._running.get(caller.principal, 0)
        if running >= self._most:
            raise Exhausted(
                Reason.BUSY,
                f"{caller.principal} has {running} {self._what} running, no more are allowed at once.",
                next_step=f"Wait for one to end, and use fewer {self._what}.",
                facts={"limit": str(self._most)},
                retry_after=1.0,
            )
        self._running[caller.principal] = running + 1
        try:
            yield
        finally:
            self._running[caller.principal] -= 1
            if not self._running[caller.principal]:
                del self._running[caller.principal]
