"""The interface through which the rules about usage reach their rows; called inside a unit of work."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ingot.server.core.usage import Activity, ActivityFilter, ArtifactUsage, Use


class UsageStore(Protocol):
    """Rows of what was done, and the counters of artifacts."""

    def add_activities(self, activities: Sequence[Activity]) -> None:
        """Append to the record, in the given order."""
        ...

    def activities(
        self, wanted: ActivityFilter, before: int | None, limit: int
    ) -> tuple[list[Activity], int | None]:
        """Return up to `limit` activities, newest first, below the place `before`, and the next place."""
        ...

    def forget_activities(self, before: float) -> int:
        """Drop what began before the time (epoch seconds); return how many."""
        ...

    def count(self, uses: Sequence[Use]) -> None:
        """Add uses to the counters of their artifacts.

        A download whose id was counted for that artifact before changes nothing. The first download of an
        artifact is remembered with who made it.
        """
        ...

    def of(self, artifact_uids: Sequence[str]) -> Mapping[str, ArtifactUsage]:
        """Return the counters of artifacts by uid, in one query; those never used are left out."""
        ...
