"""When tokens were last used: noted in memory at each call, written down together from time to time."""

import threading
from collections.abc import Mapping

from ingot.server.core.catalog_stores import TokenStore

Uses = dict[str, float]  # epoch seconds by the id of a token


class TokenUses:
    """The uses that are not written down yet; any thread may note and ask."""

    def __init__(self, tokens: TokenStore) -> None:
        self._tokens = tokens
        self._times: Uses = {}
        self._lock = threading.Lock()

    def note(self, token: str, now: float) -> None:
        """Note that a token, by its id, is used."""
        with self._lock:
            self._times[token] = now

    def of(self, token: str) -> float | None:
        """Return a use that is not written down yet."""
        with self._lock:
            return self._times.get(token)

    def pending(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self._times)

    def take(self) -> Uses:
        """Return what was noted, and begin anew."""
        with self._lock:
            taken, self._times = self._times, {}
        return taken

    def put_back(self, taken: Uses) -> None:
        """Keep what could not be written for the next time; what was noted since is newer."""
        with self._lock:
            self._times = taken | self._times

    def write(self, taken: Mapping[str, float]) -> None:
        """Write down what was noted; runs inside a write."""
        self._tokens.used(taken)
