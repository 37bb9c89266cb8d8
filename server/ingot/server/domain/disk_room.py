"""What the disk still allows: new uploads, streams, or neither. The marks are in core/disk_room.py.

Nothing else is ever refused for a disk that fills: what is stored whole can be committed and read, and what
frees space must run most of all when there is none.
"""

import logging

from ingot.server.core.disk_room import DiskLevel, DiskReader, DiskSpace, Watermarks
from ingot.server.core.errors import Exhausted, Reason

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
_SMALL_MANIFEST = 1024 * 1024  # some gigabytes of chunks: what is stored whole can be committed


class DiskRoom:
    """Asks the disk each time; may be called inside a unit of work, since the answer takes microseconds."""

    def __init__(self, reader: DiskReader, marks: Watermarks) -> None:
        self._reader = reader
        self._marks = marks
        self._last = DiskLevel.ROOMY

    def look(self) -> tuple[DiskSpace, DiskLevel]:
        """Return how full the disk is, and log when its level changed. Raises OSError."""
        space = self._reader.space()
        level = self._marks.level(space)
        if level is not self._last:
            log.log(
                logging.WARNING if level > self._last else logging.INFO,
                "disk.level level=%s used_percent=%.1f free=%d",
                level.name,
                space.used_percent,
                space.free,
            )
            self._last = level
        return space, level

    def require_upload(self) -> None:
        """Refuse to begin an upload on a disk that is low. Raises Exhausted (DISK_LOW)."""
        self._require(DiskLevel.LOW, self._marks.uploads, "no new uploads are taken")

    def require_stream(self) -> None:
        """Refuse a stream on a disk that is full. Raises Exhausted (DISK_LOW)."""
        self._require(DiskLevel.FULL, self._marks.streams, "no more data are taken")

    def require_manifest(self, size: int) -> None:
        """Refuse a manifest of `size` bytes on a disk that is full, unless it is small. Raises Exhausted."""
        if size > _SMALL_MANIFEST:
            self._require(DiskLevel.FULL, self._marks.streams, "no large manifests are taken")

    def _require(self, refused: DiskLevel, percent: float, what: str) -> None:
        try:
            _, level = self.look()
        except OSError:
            return  # health tells of it; whether there is room is then found out by writing
        if level < refused:
            return
        raise Exhausted(
            Reason.DISK_LOW,
            f"The server's disk is more than {percent:g} % full: {what}.",
            next_step=(
                "Try again later. The administrator frees space (delete versions, then `ingot upkeep "
                "collect`), adds a disk, or sets the disk_… settings otherwise."
            ),
            facts={"limit_percent": f"{percent:g}"},
            retry_after=RETRY_SECONDS,
        )
