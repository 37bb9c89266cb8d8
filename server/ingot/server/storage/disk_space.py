"""How full the disk below a folder is, as the file system says."""

import errno
import os
from pathlib import Path

from ingot.server.core.disk_room import DiskSpace
from ingot.server.core.errors import Reason, Unavailable


class FolderDisk:
    """Implements DiskReader for the disk on which `folder` lies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def space(self) -> DiskSpace:
        """Ask statvfs; blocks that only root may take count as neither used nor free, as in `df`."""
        disk = os.statvfs(self._folder)
        if disk.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self._folder))
        size = disk.f_frsize
        return DiskSpace(
            total=disk.f_blocks * size,
            used=(disk.f_blocks - disk.f_bfree) * size,
            free=disk.f_bavail * size,
        )


def of_shelf(folder: Path) -> os.statvfs_result:
    """Return what the file system says of the folder of packs. Raises Unavailable when it says nothing."""
    try:
        return os.statvfs(folder)
    except OSError as error:
        what = f"The server cannot ask how full the disk of its packs is: {error.strerror}."
        raise refusal(what) from error


def refusal(message: str, **facts: str) -> Unavailable:
    """Return the refusal of what a disk that fails, or is not there, kept from being done."""
    return Unavailable(
        Reason.INTERNAL,
        message,
        next_step="Ask the administrator to look at the disk (`ingot health`), then try again.",
        facts=facts,
    )
