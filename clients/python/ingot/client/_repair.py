"""Repair a folder: what differs from a tree is fetched, chunk by chunk, and read once more from the disk.

A pull believes its journal, so it never reads a file that nobody wrote to. A repair reads every byte, keeps
the chunks that are intact in their place and fetches the others. Each file that it put in place is then
compared again, from the disk and not from what memory still holds of it. Files beside those of the tree are
left alone, and unless that is forced those that somebody edited: the others are repaired all the same.
"""

import os
import time
from pathlib import Path

from ingot.client import _pull
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._manifest import read_manifest
from ingot.client._progress import OnProgress
from ingot.client._pull import PullOptions
from ingot.client._reading import VerifyResult
from ingot.client._seeds import compared


def repair_folder(
    link: Link,
    calls: Calls,
    tree: str,
    folder: Path,
    *,
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> VerifyResult:
    """Make a folder hold what a tree says, but for edited files without `force`. Raises IngotError."""
    begun = time.monotonic()
    options = PullOptions(force=force, on_progress=on_progress, reread=True, leave_edited=True)
    done = _pull.pull(link, calls, tree, folder, options)
    written = frozenset(done.written)
    files = read_manifest(link, calls, done.name).files if written else ()
    wrong: list[str] = []
    for file in files:
        if file.path in written:
            place = folder / file.path
            _forget(place)
            if not compared(place, file):
                wrong.append(file.path)
    return VerifyResult(
        name=done.name,
        digest=done.digest,
        file_count=done.file_count,
        size_bytes=done.size_bytes,
        damaged=tuple(wrong),
        missing=(),
        seconds=time.monotonic() - begun,
        repaired=tuple(each for each in done.written if each not in wrong),
        received_bytes=done.received_bytes,
        edited=done.edited,
    )


def _forget(place: Path) -> None:
    """Let the system drop what it holds of a file in memory, so that the disk answers."""
    if not hasattr(os, "posix_fadvise"):  # as on macOS
        return
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
