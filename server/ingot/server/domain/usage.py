"""What was done on the server and how much its artifacts are used.

Calls end many times a second, so they are gathered in memory and written together: `flush` runs inside a
write about once a second, before the record is listed, and when the server stops. A crash loses that last
second.
"""

import logging
import threading
from collections.abc import Sequence

from ingot.server.core import pages
from ingot.server.core.clock import Clock
from ingot.server.core.identity import Caller
from ingot.server.core.pages import Page, PageTokens
from ingot.server.core.usage import Activity, ActivityFilter, ArtifactUsage, Use
from ingot.server.core.usage_stores import UsageStore

_DAY = 24 * 3600.0
MOST_WAITING = 50_000  # a flood of calls, or a database that hangs, must not eat the memory

log = logging.getLogger(__name__)


class Usage:
    """Gathers and tells usage. `record`, `accessed` and `downloaded` may be called from any thread."""

    def __init__(self, store: UsageStore, tokens: PageTokens, clock: Clock, *, activity_days: int) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._activity_days = activity_days
        self._activities: list[Activity] = []
        self._uses: list[Use] = []
        self._dropped = 0
        self._lock = threading.Lock()

    def record(self, activity: Activity) -> None:
        """Remember a finished call."""
        with self._lock:
            if len(self._activities) < MOST_WAITING:
                self._activities.append(activity)
            else:
                self._dropped += 1

    def accessed(self, caller: Caller, artifact_uid: str) -> None:
        """Count that the caller looked at an artifact."""
        self._use(caller, artifact_uid, "")

    def downloaded(self, caller: Caller, artifact_uid: str, download_id: str) -> None:
        """Count a download, once for each id that a client makes for one pull."""
        self._use(caller, artifact_uid, download_id)

    def _use(self, caller: Caller, artifact_uid: str, download_id: str) -> None:
        use = Use(
            artifact_uid,
            caller.principal,
            caller.declared_user,
            caller.address,
            self._clock.now(),
            download_id,
        )
        with self._lock:
            self._uses.append(use)

    def pending(self) -> bool:
        """Return whether there is anything to flush."""
        return bool(self._activities or self._uses)

    def flush(self) -> None:
        """Write what was gathered; runs inside a write."""
        with self._lock:
            activities, self._activities = self._activities, []
            uses, self._uses = self._uses, []
            dropped, self._dropped = self._dropped, 0
        if dropped:
            log.error("usage.activities_dropped count=%d limit=%d", dropped, MOST_WAITING)
        self._store.add_activities(activities)
        self._store.count(uses)

    def forget_old(self) -> int:
        """Drop activities older than the setting says; runs inside a write. Returns how many."""
        return self._store.forget_activities(self._clock.now() - self._activity_days * _DAY)

    def of(self, artifact_uids: Sequence[str]) -> dict[str, ArtifactUsage]:
        """Return the counters of each of the artifacts, by uid."""
        found = self._store.of(artifact_uids)
        return {uid: found.get(uid, ArtifactUsage()) for uid in artifact_uids}

    def activities(
        self, caller: Caller, *, target: str, action: str, page_size: int, page_token: str
    ) -> Page[Activity]:
        """Return a page of what was done, newest first: one's own, everyone's for administrators.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        wanted = ActivityFilter("" if caller.is_admin else caller.principal, target, action)
        query = f"activity {wanted!r}"
        key = self._tokens.decode(query, page_token)
        before = int(key[0]) if key else None
        found, following = self._store.activities(wanted, before, pages.page_size(page_size))
        token = "" if following is None else self._tokens.encode(query, (following,))
        return Page(tuple(found), token)
