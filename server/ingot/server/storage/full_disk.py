"""A disk that is full, fails or may only be read, as SQLite tells of it, in words that say what to do."""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import peewee

from ingot.server.core.errors import Exhausted, Reason, Unavailable
from ingot.server.storage import disk_space

# SQLite says "disk is full" when a write finds no room, and "I/O error" when the file of shared memory beside
# the database cannot grow. The latter is also what broken disks say, so then the space left decides.
_FULL = ("database or disk is full",)
_PERHAPS = ("disk I/O error", "unable to open database file")
_BROKEN = (*_PERHAPS, "attempt to write a readonly database")
_ROOM = 1024 * 1024  # bytes: with less than this SQLite may fail to make its files

RETRY_AFTER = 60.0


def is_full(error: BaseException, path: str) -> bool:
    """Return whether an error of the database at `path` comes of a full disk."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(each, peewee.DatabaseError | sqlite3.Error):
            text = str(each)
            if any(words in text for words in _FULL):
                return True
            if any(words in text for words in _PERHAPS) and _free(path) < _ROOM:
                return True
    return False


def disk_low(path: str) -> Exhausted:
    """Return the refusal of a write for which there was no room."""
    free = _free(path)
    return Exhausted(
        Reason.DISK_LOW,
        f"The server's disk is full, {free} bytes are free: nothing was changed.",
        next_step="Free or add disk space on the server, or ask its administrator to, then try again.",
        facts={"free_bytes": str(free)},
        retry_after=RETRY_AFTER,
    )


def is_broken(error: BaseException) -> bool:
    """Return whether an error of the database comes of a disk that cannot be written, full or not."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in (errno.EIO, errno.EROFS):
            return True
        if isinstance(each, peewee.DatabaseError | sqlite3.Error) and any(
            words in str(each) for words in _BROKEN
        ):
            return True
    return False


def disk_failed(path: str) -> Unavailable:
    """Return the refusal of a write that the disk did not take."""
    return disk_space.refusal(
        f"The server's disk takes nothing for {Path(path).name}: it fails, or may only be read."
    )


def told(error: BaseException, path: str) -> BaseException:
    """Return the error that a caller gets for one of the database: in plain words where it is the disk's."""
    if is_full(error, path):
        refusal: BaseException = disk_low(path)
    elif is_broken(error):
        refusal = disk_failed(path)
    else:
        return error
    refusal.__cause__ = error
    return refusal


def read_failed(error: peewee.DatabaseError, path: str) -> Unavailable | None:
    """Return the refusal of what the disk did not read; None when the error is not the disk's."""
    if not any(words in str(error) for words in _PERHAPS):
        return None
    return disk_space.refusal(
        f"The server's disk does not read {Path(path).name}: it fails, or is not there."
    )


def startup_advice(path: str) -> str:
    """Return what to tell whoever starts a server whose disk is full."""
    folder = Path(path).absolute().parent
    return (
        f"the disk is full: {_free(path)} bytes are free in {folder}; free some space there, or move the "
        "data folder to a larger disk"
    )


def _free(path: str) -> int:
    """Return the bytes free beside `path`; without an answer many, so that nothing is blamed on the disk."""
    try:
        return shutil.disk_usage(Path(path).absolute().parent).free
    except OSError:
        return _ROOM


def _chain(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
