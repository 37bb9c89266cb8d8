"""Give the blocks of parts of a file back to the disk, which needs no free space: fallocate(2), PUNCH_HOLE.

A punched part reads as zeros. Python offers fallocate without its modes, so libc is asked. File systems that
cannot do it (and systems other than Linux) say so with UnsupportedError, and nothing was changed then.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ingot.server.core import failpoints

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL)


Span = tuple[int, int]  # offset, length


class UnsupportedError(Exception):
    """The file system cannot punch holes."""


def punch(path: Path, marks: Sequence[Span], spans: Sequence[Span]) -> None:
    """Zero `marks`, then give the blocks of `spans` back, which read as zeros too. Raises OSError.

    The marks are on the disk as zeros before the first block goes.
    """
    if _libc is None:
        raise UnsupportedError
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)  # packs are read-only, so that nothing writes to them by mistake
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    finally:
        path.chmod(mode)
    try:
        _probe(descriptor)
        for offset, length in marks:
            if any(os.pread(descriptor, length, offset)):  # else it may lie in a hole: writing needs a block
                os.pwrite(descriptor, bytes(length), offset)
        os.fdatasync(descriptor)
        failpoints.hit("pack.punching")
        for offset, length in spans:
            _fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length)
    finally:
        os.close(descriptor)


def _probe(descriptor: int) -> None:
    """Raise UnsupportedError where holes cannot be punched: tried behind the end, where nothing is."""
    try:
        _fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, os.fstat(descriptor).st_size, 1)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise UnsupportedError from error
        raise


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    assert _libc is not None
    if _libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _load() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "fallocate") else None


_libc = _load()
