"""What fails again and again is told once a minute: a full disk must not fill up with the news of it.

complaints = Complaints(log)
complaints.tell("runner.round_failed", error)     # now, or counted and told with the next one
"""

import logging
import threading
import time
from collections.abc import Callable

from ingot.server.core.errors import IngotError

EVERY_SECONDS = 60.0


class Complaints:
    """Logs failures of work that is done over and over; may be used by any thread."""

    def __init__(self, log: logging.Logger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._told: dict[tuple[str, str], tuple[float, int]] = {}  # when last, and how often unsaid since
        self._lock = threading.Lock()

    def tell(self, event: str, error: Exception, about: str = "") -> None:
        """Log that `event` happened, once a minute for each cause; `about` says to what.

        An error of our own is one line; of any other its story is told.
        """
        known = isinstance(error, IngotError)
        cause = error.reason.value if isinstance(error, IngotError) else type(error).__name__
        unsaid = self._due(event, cause)
        if unsaid is None:
            return
        words = " ".join(each for each in (event, about, f"cause={cause}", f"since_last={unsaid}") if each)
        if known:
            self._log.warning("%s: %s", words, error)
        else:
            self._log.error("%s", words, exc_info=error)

    def _due(self, event: str, cause: str) -> int | None:
        """Return how often it was not told since it was told last; None when it is not told now."""
        now = self._monotonic()
        with self._lock:
            last, unsaid = self._told.get((event, cause), (None, 0))
            if last is not None and now < last + EVERY_SECONDS:
                self._told[event, cause] = last, unsaid + 1
                return None
            self._told[event, cause] = now, 0
            return unsaid
