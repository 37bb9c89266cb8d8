"""A file that takes some space while there is plenty, dropped on a full disk so that the database can write.

Freeing space needs rows to change, and rows need a little room. Whoever else fills the disk to the last byte
would leave none; so the first write that finds no room drops the ballast, is refused, and succeeds when it is
tried again. Collection puts the ballast back once there is room.
"""

import contextlib
import logging
import os
import shutil
from pathlib import Path

log = logging.getLogger(__name__)

MOST = 8 * 1024 * 1024  # bytes
_SHARE = 32  # of a small disk it takes no more than this part
_PLENTY = 8  # times its size must be free before it is put in place


def keep(database: str) -> bool:
    """Put the ballast beside a database if there is plenty of room; return whether it is there."""
    path = _path(database)
    try:
        if path.exists() and path.stat().st_size:
            return True
        path.unlink(missing_ok=True)  # empty: a power cut took its space
        disk = shutil.disk_usage(path.parent)
        size = min(MOST, disk.total // _SHARE)
        if disk.free < _PLENTY * size:
            return False
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        log.warning("ballast.not_kept path=%s error=%s", path, error)
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    return True


def drop(database: str) -> bool:
    """Remove the ballast so that the database can write a while; False when there was none."""
    path = _path(database)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    log.error("ballast.dropped path=%s: the disk is full", path)
    return True


def _path(database: str) -> Path:
    return Path(f"{database}.ballast").absolute()
