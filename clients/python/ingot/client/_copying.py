"""Copy bytes between files without carrying them through this process, and without storing them twice.

A file system that shares blocks between files (Btrfs, XFS) clones a whole file at once; elsewhere the system
copies. Whoever copies checks the digest of what arrived: the source may change at any time.
"""

import errno
import fcntl
import os

_FICLONE = 0x40049409  # from linux/fs.h
# What a file system answers that cannot do it; anything else is a real failure.
_CANNOT = frozenset([errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM])
_PIECE = 8 * 1024 * 1024


def clone(source: int, sink: int) -> bool:
    """Let the file `sink` share all blocks of `source`; return False where that cannot be done."""
    try:
        fcntl.ioctl(sink, _FICLONE, source)
    except OSError as failure:
        if failure.errno in _CANNOT:
            return False
        raise
    return True


def copy_range(source: int, offset: int, sink: int, at: int, length: int) -> bool:
    """Copy a range between open files; return False when the source ends before. Raises OSError."""
    while length:
        copied = _copied(source, offset, sink, at, min(length, _PIECE))
        if copied == 0:
            return False
        offset, at, length = offset + copied, at + copied, length - copied
    return True


def _copied(source: int, offset: int, sink: int, at: int, length: int) -> int:
    if hasattr(os, "copy_file_range"):  # not on macOS
        try:
            return os.copy_file_range(source, sink, length, offset, at)
        except OSError as failure:
            if failure.errno not in _CANNOT:
                raise
    return os.pwrite(sink, os.pread(source, length, offset), at)
