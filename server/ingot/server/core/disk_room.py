"""How full the disk below the data folder is, and what that allows.

    level      what the server does                                                   share used   free
    ROOMY      everything
    FILLING    warns: health is DEGRADED and says what to do                           85 %        64 GiB
    LOW        also refuses new uploads; those that are open go on                     92 %        16 GiB
    FULL       also refuses streams, and manifests above 1 MiB; what is stored         96 %         4 GiB
               whole still commits, reads, aborts and collection go on

A level counts when *both* its marks are reached: at least that share is used and less than those bytes are
free. So the share decides on small disks, and on a large one nobody is locked out while hundreds of gigabytes
are free. Below all levels lies the headroom, which no stream and no import may take.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from ingot.server.core.packs import PACK_TARGET

# Always left free: two packs for repair, and the database's log. Of a small disk that would be most, so
# there it is a share of the disk.
_HEADROOM = 2 * PACK_TARGET + 64 * 1024 * 1024
_HEADROOM_SHARE = 8


def headroom(disk_size: int) -> int:
    """Return how many bytes of a disk of that size stay free for the server itself."""
    return min(_HEADROOM, disk_size // _HEADROOM_SHARE)


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """A disk in bytes: `free` is what the server may still use, `used` what is taken, as `df` counts."""

    total: int
    used: int
    free: int

    @property
    def used_percent(self) -> float:
        """The share of the usable space that is taken."""
        usable = self.used + self.free
        return 100 * self.used / usable if usable else 100.0


class DiskReader(Protocol):
    """Tells how full a disk is."""

    def space(self) -> DiskSpace:
        """Return it as it is now. Quick; raises OSError."""
        ...


class DiskLevel(IntEnum):
    """How full a disk is, emptiest first."""

    ROOMY = 0
    FILLING = 1
    LOW = 2
    FULL = 3


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Where the levels begin: used percent of each, and `plenty`, the free bytes above which none counts.

    LOW needs less than a quarter of `plenty` to be free, FULL less than a sixteenth.
    """

    warn: float = 85.0
    uploads: float = 92.0
    streams: float = 96.0
    plenty: int = 64 << 30

    def level(self, space: DiskSpace) -> DiskLevel:
        """Return the highest level whose both marks are reached."""
        marks = (
            (DiskLevel.FULL, self.streams, self.plenty // 16),
            (DiskLevel.LOW, self.uploads, self.plenty // 4),
            (DiskLevel.FILLING, self.warn, self.plenty),
        )
        for level, percent, free in marks:
            if space.used_percent >= percent and space.free < free:
                return level
        return DiskLevel.ROOMY
