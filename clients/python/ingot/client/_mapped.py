"""Files that somebody writes to through memory (mmap, `numpy.memmap`), whose times tell only half of it.

The first write to a page tells the time; what is written to the same page until it goes to the disk, half a
minute later perhaps, changes neither time nor size. So before a file is read its pages are sent on their way:
the next write to any of them tells again. That costs little, as nothing waits for them to arrive. Where a
system or a file system knows nothing of the kind, as tmpfs, it stays as it is.
"""

import ctypes
import time

from ingot.client._journal import FileState

_AT_DISK_SECONDS = 3600.0  # since its last change a file has long been there
_WAIT_BEFORE, _WRITE = 1, 2  # of sync_file_range(2): what is on its way arrives first, as it may have changed

_sync_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_range is not None:
    _sync_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def let_writes_show(descriptor: int, state: FileState) -> None:
    """See that a write to an open file from now on changes its times, which are in `state` now."""
    age = time.time() - max(state.mtime_ns, state.ctime_ns) / 1e9
    if _sync_range is not None and age < _AT_DISK_SECONDS:
        _sync_range(descriptor, 0, 0, _WAIT_BEFORE | _WRITE)  # what fails leaves it as it was
