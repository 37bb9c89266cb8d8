"""How large the data folder is. What packs take is in rows; the rest is counted, at most once a minute."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from ingot.server.core.clock import Clock

_EVERY_SECONDS = 60.0


class FolderSize:
    """Implements Measured. Any thread may ask; one counts while the others wait for it."""

    def __init__(self, folder: Path, clock: Clock, *, without: str = "packs") -> None:
        self._folder = folder
        self._clock = clock
        self._without = without
        self._size = 0
        self._time = 0.0
        self._lock = threading.Lock()

    def folder(self) -> tuple[int, float]:
        """Return the bytes that the folder takes on disk without its packs, and when they were counted."""
        with self._lock:
            now = self._clock.now()
            if not self._time or not 0 <= now - self._time < _EVERY_SECONDS:
                self._size = sum(_sizes(self._folder, self._without))
                self._time = now
            return self._size, self._time

    def disk(self) -> tuple[int, int]:
        """Return the size of the disk below the folder, and what is free of it."""
        usage = shutil.disk_usage(self._folder)
        return usage.total, usage.free


def _sizes(folder: Path, without: str = "") -> Iterator[int]:
    """Yield the bytes of each file; those that go meanwhile are left out, links are not followed."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name == without:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(Path(entry.path))
        else:
            try:
                yield entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
