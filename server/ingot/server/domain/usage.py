"""What was done on the server and how much its artifacts are used.

Calls end many times a second, so they are gathered in memory and written together: about once a second,
before a question is answered, and when the server stops. A crash loses that last second, of reads only: what
changes something is recorded in the write that changes it.

    gathered = usage.take()
    hops.write(usage.write, gathered)      # and usage.put_back(gathered) when that failed
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from ingot.server.core import pages
from ingot.server.core.artifacts import Artifact, Visibility
from ingot.server.core.clock import Clock
from ingot.server.core.identity import Caller
from ingot.server.core.pages import Page, PageTokens
from ingot.server.core.usage import (
    Activity,
    ActivityFilter,
    ArtifactUsage,
    Gathered,
    Place,
    Use,
    day_of,
    namespace_subject,
    newest_first,
)
from ingot.server.core.usage_stores import UsageStore

_DAY = 24 * 3600.0
MOST_WAITING = 50_000  # a flood of calls, or a database that hangs, must not eat the memory
RESUME_DAYS = 30  # how long a download that goes on is the same one
FORGET_AT_ONCE = 5_000  # rows; the writer is held for some 20 ms

log = logging.getLogger(__name__)


class Usage:
    """Gathers and tells usage. `record`, `accessed` and `downloaded` may be called from any thread."""

    def __init__(
        self,
        store: UsageStore,
        tokens: PageTokens,
        clock: Clock,
        *,
        activity_days: int,
        usage_days: int = 1100,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._activity_days = activity_days
        self._usage_days = usage_days
        self._gathered = Gathered()
        self._lock = threading.Lock()

    # --- gathering --------------------------------------------------------------------------------------

    def record(self, activity: Activity) -> None:
        """Remember a finished call."""
        with self._lock:
            if len(self._gathered.activities) < MOST_WAITING:
                self._gathered.activities.append(activity)
            else:
                self._gathered.dropped += 1

    def begun(self, activity: Activity) -> int:
        """Put a call into the record in the write that runs now; return its row, for when it ends."""
        return self._store.begin_activity(activity)

    def accessed(self, caller: Caller, artifact_uid: str) -> None:
        """Count that the caller looked at an artifact."""
        self._use(caller, artifact_uid, "", "")

    def downloaded(self, caller: Caller, artifact_uid: str, download_id: str, version: str = "") -> None:
        """Count a download, once for each id that a client makes for one pull."""
        self._use(caller, artifact_uid, download_id, version)

    def _use(self, caller: Caller, artifact_uid: str, download_id: str, version: str) -> None:
        if caller.operation:  # what the server itself does is nobody's use
            return
        use = Use(
            artifact_uid,
            caller.principal,
            caller.declared_user,
            caller.address,
            self._clock.now(),
            download_id,
            version,
        )
        with self._lock:
            if len(self._gathered.uses) < MOST_WAITING:
                self._gathered.uses.append(use)
            else:
                self._gathered.dropped += 1

    def pending(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self._gathered)

    def take(self) -> Gathered:
        """Return what was gathered, for `write`; whoever takes it gives it back when that fails."""
        with self._lock:
            taken, self._gathered = self._gathered, Gathered()
        return taken

    def put_back(self, gathered: Gathered) -> None:
        """Keep what could not be written for the next time."""
        with self._lock:
            waiting = self._gathered
            activities = [*gathered.activities, *waiting.activities]
            uses = [*gathered.uses, *waiting.uses]
            over = max(0, len(activities) - MOST_WAITING) + max(0, len(uses) - MOST_WAITING)
            self._gathered = Gathered(
                activities[:MOST_WAITING], uses[:MOST_WAITING], gathered.dropped + waiting.dropped + over
            )

    def write(self, gathered: Gathered) -> None:
        """Write what was gathered; runs inside a write."""
        if gathered.dropped:
            log.error("usage.activities_dropped count=%d limit=%d", gathered.dropped, MOST_WAITING)
        self._store.add_activities(gathered.activities)
        self._store.count(gathered.uses)

    def forget_old(self) -> int:
        """Drop some of what is older than the settings say; runs inside a write.

        Returns how many rows went; while it is not 0 there may be more.
        """
        now = self._clock.now()
        today = day_of(now)
        return self._store.forget_activities(
            now - self._activity_days * _DAY, FORGET_AT_ONCE
        ) + self._store.forget_counts(today - self._usage_days, today - RESUME_DAYS)

    # --- telling ----------------------------------------------------------------------------------------

    def of(self, artifact_uids: Sequence[str]) -> dict[str, ArtifactUsage]:
        """Return the counters of each of the artifacts, by uid."""
        found = self._store.of(artifact_uids)
        return {uid: found.get(uid, ArtifactUsage()) for uid in artifact_uids}

    def shown(self, caller: Caller, artifacts: Sequence[Artifact]) -> dict[str, ArtifactUsage]:
        """Return the counters of artifacts that the caller reads, by uid; addresses only of its own."""
        if caller.is_worker:  # nothing but its assignment is its business
            return {each.uid: ArtifactUsage() for each in artifacts}
        found = self.of([each.uid for each in artifacts])
        return {
            each.uid: found[each.uid].seen_by(
                owner=caller.may_write(each.name.namespace), stranger=is_strange(caller, each)
            )
            for each in artifacts
        }

    def activities(
        self, caller: Caller, wanted: ActivityFilter, page_size: int, page_token: str
    ) -> Page[Activity]:
        """Return a page of what was done, newest first: one's own, everyone's for administrators.

        A target that is an artifact or a namespace stands for what belongs to it, too.
        A page may be short or empty although more follow: only an empty token ends the list.
        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        if not caller.is_admin:
            if wanted.principal not in ("", caller.principal):
                return Page((), "")
            wanted = replace(wanted, principal=caller.principal)
        wanted = _widened(wanted)
        query = f"activity {wanted!r}"
        key = self._tokens.decode(query, page_token)
        before = int(key[0]) if key else None
        found, following = self._store.activities(wanted, before, pages.page_size(page_size))
        token = "" if following is None else self._tokens.encode(query, (following,))
        return Page(newest_first(found), token)


def is_strange(caller: Caller, artifact: Artifact) -> bool:
    """Return whether the first download of it may have been of a version that is not for the caller."""
    return artifact.fields.visibility is Visibility.PUBLIC and not caller.may_read(artifact.name.namespace)


def _widened(wanted: ActivityFilter) -> ActivityFilter:
    """Return the filter with what belongs to its target, where that is an artifact or a namespace."""
    at = Place.of(wanted.target)
    if at.artifact and at.artifact == wanted.target.lower():
        return replace(wanted, target="", artifact=at.artifact)
    if at.namespace and wanted.target == namespace_subject(at.namespace):
        return replace(wanted, target="", namespace=at.namespace)
    return wanted
