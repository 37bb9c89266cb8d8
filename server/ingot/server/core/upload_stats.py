"""How many uploads there were, and how they ended; and the interface to the rows that remember it.

Uploads are forgotten some time after they ended, so they are counted apart: by who began them, where, and on
which day. Every upload is counted once, on the day it began, and its count follows it: one that failed and is
tried again has not failed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from ingot.server.core.uploads import Upload, UploadStage

_DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class UploadStats:
    """Counts of uploads; `files` and `size` (bytes) are those of the successful ones."""

    total: int = 0
    successful: int = 0
    failed: int = 0
    files: int = 0
    size: int = 0

    @property
    def active(self) -> int:
        """Return how many go on."""
        return self.total - self.successful - self.failed

    @property
    def average_file_size(self) -> float:
        """Return the bytes of a file on average; 0 when there are none."""
        return self.size / self.files if self.files else 0.0

    def since(self, before: "UploadStats") -> "UploadStats":
        """Return what was added to `before` to make this."""
        return UploadStats(
            self.total - before.total,
            self.successful - before.successful,
            self.failed - before.failed,
            self.files - before.files,
            self.size - before.size,
        )


class UploadTally(Protocol):
    """Counts of uploads by creator, namespace and day; called inside a unit of work."""

    def add(self, creator: str, namespace: str, day: int, counts: UploadStats) -> None:
        """Add these counts, which may be negative."""
        ...

    def sum(
        self,
        namespaces: Collection[str] | None,
        creator: str | None,
        first_day: int | None,
        last_day: int | None,
    ) -> UploadStats:
        """Return the sum over namespaces (None: all), a creator (None: any) and days, both included."""
        ...


def day_of(time: float) -> int:
    """Return the number of a day (UTC) from epoch seconds."""
    return int(time // _DAY)


def counts_of(upload: Upload | None) -> UploadStats:
    """Return what one upload adds to the counts, as it is now."""
    if upload is None:
        return UploadStats()
    if upload.stage is UploadStage.FRESH:
        return UploadStats(1, successful=1, files=upload.file_count, size=upload.manifest_bytes)
    return UploadStats(1, failed=int(upload.stage is UploadStage.FAILED))
