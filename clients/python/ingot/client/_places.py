"""Where the files of a tree go below a folder, and what is there already.

A pull of many small files spends its time on calls of the operating system, so each folder is listed once and
nothing is asked about files that are not there.
"""

import errno
import os
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ingot.client._errors import Invalid, LimitReached
from ingot.content import durable

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class Folders:
    """The folders of a tree below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._ready = {""}  # folders of the tree that are there for sure
        self._names: dict[str, frozenset[str] | None] = {}  # what was in them at first

    def may_have(self, path: str) -> bool:
        """Return whether something may be in the place of a tree path; False when nothing was at first."""
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            self._names[folder] = self._listed(folder)
        names = self._names[folder]
        return names is None or _folded(name) in names

    def place(self, path: str) -> str:
        """Return the place of a tree path, making its folders. Raises Invalid for anything in the way.

        A link among the folders could lead the write anywhere; a tree never contains one.
        """
        folder = path.rpartition("/")[0]
        if folder not in self._ready:
            self._make(folder)
        target = os.path.join(self._root, path)
        if self.may_have(path) and os.path.isdir(target) and not os.path.islink(target):
            raise in_the_way(Path(target))
        return target

    def open(self, folder: str) -> int:
        """Return a descriptor of a folder of the tree, "" for its root. Raises Invalid, LimitReached.

        No link is followed below the root: one may have come since the folder was made or looked at.
        """
        descriptor = os.open(self._root, _FOLDER)
        try:
            for part in filter(None, folder.split("/")):
                above, descriptor = descriptor, os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(above)
        except OSError as failure:
            os.close(descriptor)
            place = Path(self._root, folder)
            if failure.errno in (errno.ENOTDIR, errno.ELOOP):
                raise in_the_way(place) from failure
            raise unwritable(place, str(failure.strerror)) from failure
        return descriptor

    def _make(self, folder: str) -> None:
        parent = folder.rpartition("/")[0]
        if parent not in self._ready:
            self._make(parent)
        place = Path(self._root, folder)
        try:
            place.mkdir()
        except FileExistsError:
            if place.is_symlink() or not place.is_dir():
                raise in_the_way(place) from None
            if not os.access(place, os.W_OK | os.X_OK):  # better known before anything travels
                raise unwritable(place, os.strerror(errno.EACCES)) from None
        except OSError as failure:
            raise unwritable(place, str(failure.strerror)) from failure
        self._ready.add(folder)

    def _listed(self, folder: str) -> frozenset[str] | None:
        """Return the names in a folder; None when they cannot be known."""
        try:
            return frozenset(map(_folded, os.listdir(os.path.join(self._root, folder))))
        except FileNotFoundError:
            return frozenset()
        except OSError:
            return None


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that a power cut leaves them there. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        with suppress(PermissionError):  # a folder in which one may make others and not look
            durable.sync_folder(each.parent)


def sync_folders(root: Path, paths: Iterable[str]) -> None:
    """Bring the names of files of a tree, and of the folders on the way to them, to the disk."""
    folders = {""}
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    for folder in folders:
        with suppress(FileNotFoundError):  # somebody took it away; whether that matters is found out later
            durable.sync_folder(root / folder)


def unwritable(place: str | Path, why: str) -> LimitReached:
    """Return the error for a place that cannot be written to."""
    return LimitReached(
        f"Cannot write {place}: {why}.",
        reason="DISK_LOW",
        facts={"path": str(place)},
        next_step="Check permissions and room on the disk, then pull again; what is here already is kept.",
    )


def no_folder(place: Path) -> Invalid:
    """Return the error for a place to pull into that is a file, or below one."""
    return Invalid(
        f"Cannot pull into {place}: it, or what it is in, is a file.",
        reason="BAD_PATH",
        facts={"path": str(place)},
        next_step="Name a folder, new or not: the files of the version go into it.",
    )


def _folded(name: str) -> str:
    """Return a name as a file system may compare it that ignores case or keeps names in another form."""
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()


def in_the_way(place: Path) -> Invalid:
    """Return the error for a place where something else is than a pull may replace."""
    return Invalid(
        f"Cannot pull over {place}: something else than the tree's own file or folder is there.",
        reason="BAD_PATH",
        facts={"path": str(place)},
        next_step="Move it away, or pull into another folder.",
    )
