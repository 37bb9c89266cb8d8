"""Files of trees that are kept for the next pull; several people and processes may share the folder.

    <folder>/files/<2 hex>/<file root>        the bytes of a file
    <folder>/files/<2 hex>/<file root>.cut    what it is, and its chunks, from which the root can be computed
    <folder>/new/<random>                     one that is being put in

Nothing in it is believed: who takes a file checks each chunk against the manifest of the tree, and a chunk
that is wrong is fetched from the server. A file stands under its name only when it is complete and checked;
it is then read-only. Links, pipes and the like are passed over. What is being read is locked, so that nobody
removes it meanwhile. Folders get the permissions of the topmost one: make that with mode 2775 for a group.
Who may only read it uses what others put there.

A cache is off unless it is asked for: beside the folder of a pull it would hold most bytes twice.
"""

import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ingot.client import _copying, _journal
from ingot.client._errors import Invalid
from ingot.client._journal import ENTRY, Cut
from ingot.client._manifest import TreeFile
from ingot.client._seeds import is_intact

FOLDER = "INGOT_FILE_CACHE"  # names the folder, and turns the cache on for every pull
LIMIT = "INGOT_FILE_CACHE_BYTES"
DEFAULT_LIMIT = 100 * 1024**3  # bytes
_CUT = ".cut"
_MAGIC = b"ingot cut 1\n"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_ABANDONED_SECONDS = 24 * 3600
_LARGEST_CUT = 64 * 1024 * 1024  # that is read: of a file of 4 TiB in chunks of 4 MiB it is 36 MiB


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One file of the cache; `about` says of which tree it was, as whoever put it in said."""

    root: str  # hex
    size: int
    used: float  # seconds since 1970
    about: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, and what was not because somebody reads it."""

    files: int
    size_bytes: int
    in_use: int


class FileCache:
    """The files below one folder."""

    def __init__(self, folder: Path, limit: int = DEFAULT_LIMIT) -> None:
        self.folder = folder
        self.limit = limit  # bytes of all files, which each pull sees to

    # --- for pulls --------------------------------------------------------------------------------------

    def has(self, file: TreeFile) -> bool:
        """Return whether a file of that size is there, whatever its bytes are."""
        try:
            found = self._place(file.root.hex()).stat(follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == file.size

    @contextmanager
    def reading(self, file: TreeFile) -> Iterator[int | None]:
        """Give a descriptor of a file, which nobody removes meanwhile; None when it is not there."""
        descriptor = _opened(self._place(file.root.hex()))
        if descriptor is None:
            yield None
            return
        try:
            with suppress(OSError):  # of a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            with suppress(OSError):  # of who may only read; the system notes the access at least daily
                os.utime(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def keep(self, tree: str, files: Sequence[TreeFile], folder: Path) -> int:
        """Put files of a tree in that lie in a folder, unless they are there; return how many.

        It is a help, not a promise: a cache that is full or may not be written to takes nothing.
        """
        count = 0
        try:
            for file in files:
                if file.size <= self.limit and not self.has(file):
                    count += self._put(file, folder / file.path, f"{tree}:{file.path}")
            if count:
                self.prune(self.limit)
        except OSError:
            pass
        return count

    # --- for whoever looks after it ---------------------------------------------------------------------

    def files(self) -> list[KeptFile]:
        """Return all files, the one that was used last first."""
        found: list[KeptFile] = []
        for place in self._places():
            with suppress(OSError):
                seen = place.stat(follow_symlinks=False)
                cut = _read_cut(place)
                used = max(seen.st_mtime, seen.st_atime)
                found.append(KeptFile(place.name, seen.st_size, used, cut[1] if cut else ""))
        return sorted(found, key=lambda each: each.used, reverse=True)

    def prune(self, limit: int) -> Pruned:
        """Remove what was used least lately until at most `limit` bytes are left, and what kills left."""
        with suppress(OSError):
            for place in (self.folder / "new").iterdir():
                if time.time() - place.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS:
                    place.unlink(missing_ok=True)
        kept = self.files()
        excess, count, removed, in_use = sum(each.size for each in kept) - limit, 0, 0, 0
        for each in reversed(kept):
            if excess - removed <= 0:
                break
            if self.remove(each.root):
                count, removed = count + 1, removed + each.size
            else:
                in_use += 1
        return Pruned(count, removed, in_use)

    def remove(self, root: str) -> bool:
        """Remove a file unless somebody reads it; return whether it is gone. Raises OSError."""
        place = self._place(root)
        descriptor = _opened(place)
        if descriptor is None:
            self._unlink(place)
            return True
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._unlink(place)
                return True
            return False
        finally:
            os.close(descriptor)

    def drop(self, root: str) -> None:
        """Remove a file that has wrong bytes, also from under its readers. Raises OSError."""
        self._unlink(self._place(root))

    def damaged(self) -> list[KeptFile]:
        """Read every file and return those whose bytes are not what their name says."""
        return [each for each in self.files() if not self._is_good(self._place(each.root))]

    # --- its folders ------------------------------------------------------------------------------------

    def _place(self, root: str) -> Path:
        return self.folder / "files" / root[:2] / root

    def _places(self) -> Iterator[Path]:
        for shelf in sorted((self.folder / "files").glob("[0-9a-f][0-9a-f]")):
            with suppress(OSError):
                for place in sorted(shelf.iterdir()):
                    if place.suffix != _CUT:
                        yield place

    def _put(self, file: TreeFile, source: Path, about: str) -> bool:
        place = self._place(file.root.hex())
        self._make(place.parent)
        self._make(self.folder / "new")
        reader = _opened(source)
        if reader is None:
            return False
        new, temporary = tempfile.mkstemp(dir=self.folder / "new")
        try:
            if not _copying.clone(reader, new):
                _copying.copy_range(reader, 0, new, 0, os.fstat(reader).st_size)
            if os.fstat(new).st_size != file.size or not is_intact(new, file):
                return False  # it changed since it was pulled
            os.fchmod(new, self.folder.stat().st_mode & 0o444)
            self._put_cut(place, file.cut, about)
            os.replace(temporary, place)
            return True
        finally:
            os.close(reader)
            os.close(new)
            with suppress(OSError):
                os.unlink(temporary)

    def _put_cut(self, place: Path, cut: Cut, about: str) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self.folder / "new")
        with open(descriptor, "wb") as file:
            head = json.dumps({"profile": cut.profile, "size": cut.size, "about": about})
            file.write(_MAGIC + head.encode("ascii") + b"\n" + cut.entries)
            os.fchmod(descriptor, self.folder.stat().st_mode & 0o444)
        os.replace(temporary, f"{place}{_CUT}")

    def _make(self, folder: Path) -> None:
        """Make a folder with the permissions of the topmost one, which is private when it is made here."""
        if folder.is_dir():
            return
        if folder == self.folder:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        self._make(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(stat.S_IMODE(self.folder.stat().st_mode))

    def _is_good(self, place: Path) -> bool:
        with suppress(OSError, ValueError):
            found = _read_cut(place)
            descriptor = _opened(place)
            if descriptor is not None:
                try:
                    seen = os.fstat(descriptor)
                    return found is not None and _holds(descriptor, place.name, found[0])
                finally:
                    with suppress(OSError):  # to look is not to use
                        os.utime(descriptor, ns=(seen.st_atime_ns, seen.st_mtime_ns))
                    os.close(descriptor)
        return False

    @staticmethod
    def _unlink(place: Path) -> None:
        place.unlink(missing_ok=True)
        Path(f"{place}{_CUT}").unlink(missing_ok=True)


def chosen(wanted: bool | None) -> FileCache | None:
    """Return the cache that a pull uses: `wanted`, else when INGOT_FILE_CACHE names one. Raises Invalid."""
    named = os.environ.get(FOLDER, "")
    if wanted is False or (wanted is None and not named):
        return None
    return configured()


def configured() -> FileCache:
    """Return the cache of this user: INGOT_FILE_CACHE, else `kept` in the cache folder. Raises Invalid."""
    named, text = os.environ.get(FOLDER, ""), os.environ.get(LIMIT, "")
    if text and not (text.isascii() and text.isdigit()):
        raise Invalid(
            f"{LIMIT}: expected a number of bytes, got {text!r}.",
            reason="FIELD_INVALID",
            next_step=f"Write for example {LIMIT}=50000000000, or unset it for {DEFAULT_LIMIT}.",
        )
    folder = Path(named).absolute() if named else _journal.cache_folder() / "kept"
    return FileCache(folder, int(text) if text else DEFAULT_LIMIT)


def _opened(place: Path) -> int | None:
    """Return a descriptor of a regular file; None for anything else and when it cannot be read."""
    try:
        descriptor = os.open(place, _READ)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _read_cut(place: Path) -> tuple[Cut, str] | None:
    """Return the chunks of a kept file and what it is about; None when that is lost."""
    descriptor = _opened(Path(f"{place}{_CUT}"))
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size > _LARGEST_CUT:
            return None
        data = file.read(_LARGEST_CUT)
    head, _, entries = data.removeprefix(_MAGIC).partition(b"\n")
    if len(entries) % ENTRY.size:
        return None
    try:
        facts = json.loads(head)
        return Cut(int(facts["size"]), entries, str(facts["profile"])), str(facts["about"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _holds(descriptor: int, root: str, cut: Cut) -> bool:
    """Return whether an open file has the chunks of a cut, and the cut has the root; reads all of it."""
    file = TreeFile("", cut, bytes.fromhex(root))
    return (
        cut.root() == file.root and os.fstat(descriptor).st_size == cut.size and is_intact(descriptor, file)
    )
