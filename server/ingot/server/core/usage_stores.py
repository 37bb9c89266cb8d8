"""The interface through which the rules about usage reach their rows; called inside a unit of work.

Counters have a *subject*: the uid of an artifact, `namespaces/{id}`, or `server` for everything. They are
kept up to date as uses are counted, so that every question costs the same however much was used before.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ingot.server.core.usage import (
    Activity,
    ActivityFilter,
    ArtifactUsage,
    UsageDay,
    Use,
    UserOfArtifact,
)


class UsageStore(Protocol):
    """Rows of what was done, and the counters of artifacts."""

    def begin_activity(self, activity: Activity) -> int:
        """Append a call that is not over yet to the record; return its row, for `add_activities`."""
        ...

    def add_activities(self, activities: Sequence[Activity]) -> None:
        """Append to the record, in the given order, and remember who calls among the users of the server.

        One that has its row already changes that: how it ended, and how long it took.
        """
        ...

    def activities(
        self, wanted: ActivityFilter, before: int | None, limit: int
    ) -> tuple[list[Activity], int | None]:
        """Return up to `limit` activities, newest first, below the place `before`, and the next place.

        With several conditions a page may end early, even empty, though more follow: it looks at a bounded
        part of the record.
        """
        ...

    def forget_activities(self, before: float, limit: int) -> int:
        """Drop up to `limit` of the oldest that began before the time (epoch seconds); return how many."""
        ...

    def forget_counts(self, day: int, download_day: int) -> int:
        """Drop counts of days before `day`, and ids of downloads before `download_day`; return how many."""
        ...

    def count(self, uses: Sequence[Use]) -> None:
        """Add uses to the counters of their artifacts, of the namespaces these are in, and of the server.

        A download whose id was counted for that artifact before changes nothing. The first download of an
        artifact is remembered with who made it.
        """
        ...

    def of(self, subjects: Sequence[str]) -> Mapping[str, ArtifactUsage]:
        """Return the counters of subjects, in one query; those never used are left out."""
        ...

    def days(self, subject: str, first: int, last: int) -> Sequence[UsageDay]:
        """Return the days from `first` to `last` on which the subject was used, oldest first."""
        ...

    def users(self, subject: str, version: str, limit: int) -> Sequence[UserOfArtifact]:
        """Return who used a subject, the last one first; with a version only who downloaded that one."""
        ...

    def most_downloaded(self, limit: int) -> Sequence[tuple[str, ArtifactUsage]]:
        """Return the names of the artifacts that were downloaded most, the first first; none in the trash."""
        ...
