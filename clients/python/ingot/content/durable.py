"""Bringing names to the disk, on either side: a power cut takes the name of a file that is synced alone."""

import os
from pathlib import Path


def sync_folder(folder: str | Path) -> None:
    """Bring the names in a folder to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
