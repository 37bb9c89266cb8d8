"""Files that somebody writes to through memory (mmap, `numpy.memmap`), whose times tell only half of it.

The first write to a page tells the time; what is written to the same page until it goes to the disk, half a
minute later perhaps, changes neither time nor size. So before a page is read it is sent on its way: the next
write to it tells again. That costs little, as nothing waits for pages to arrive, and it goes on some steps
before the reading, so that a large file on a slow disk is not waited for as a whole. Where a system or a file
system knows nothing of the kind, as tmpfs, it stays as it is.
"""

import ctypes
import time

from ingot.client._journal import FileState

_AT_DISK_SECONDS = 3600.0  # since its last change a file has long been there
_WAIT_BEFORE, _WRITE = 1, 2  # of sync_file_range(2): what is on its way arrives first, as it may have changed
_STEP = 64 * 1024 * 1024  # more than whoever cuts a file reads ahead of what it has handed out

_sync_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_range is not None:
    _sync_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class Pages:
    """The pages of an open file that is read from its front, and was in `state` before."""

    def __init__(self, descriptor: int, state: FileState) -> None:
        age = time.time() - max(state.mtime_ns, state.ctime_ns) / 1e9
        self._descriptor = descriptor
        self._until = state.size if _sync_range is not None and age < _AT_DISK_SECONDS else 0
        self._shown = 0

    def let_writes_show(self, read: int | None = None) -> None:
        """See that writes from now on change the times of the file, to pages up to a step behind `read`.

        Without `read`, to all pages.
        """
        end = self._until if read is None else min(self._until, read + _STEP)
        while self._shown < end:
            if _sync_range is not None:  # what fails leaves it as it was
                _sync_range(self._descriptor, self._shown, _STEP, _WAIT_BEFORE | _WRITE)
            self._shown += _STEP
