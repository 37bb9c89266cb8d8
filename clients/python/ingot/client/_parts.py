"""Files on their way here: `<name>.part` beside its place, and `<name>.part.map` with which chunks it has.

A bit of the map is set only after the bytes are on disk (fdatasync), so a map never promises what a power cut
can take. A thread beside the lanes does that; meanwhile they go on, up to as much again. When all chunks are
there the part is synced and renamed into place in one step; nobody ever sees half a file under its real name.
Small files have no map, they are simply fetched again; and they are synced many at a time, because one sync
for each would take longer than to fetch it.
"""

import ctypes
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path

from ingot.client._errors import Invalid, LimitReached
from ingot.client._manifest import TreeFile

SUFFIX = ".part"
OTHER_SUFFIX = ".ingot-part"  # for trees that have files called *.part themselves
MAP = ".map"  # behind the suffix
_MAPPED_ABOVE = 8 * 1024 * 1024  # bytes
_FLUSH_BYTES = 32 * 1024 * 1024
_FEW = 16  # files for which a sync of everything is not worth it
_MAGIC = b"ingot part 1\n"


class Part:
    """One file that is being fetched; lanes may write into it side by side. `aside` runs its flushes."""

    def __init__(self, file: TreeFile, target: Path, aside: Executor, suffix: str = SUFFIX) -> None:
        self.file = file
        self.target = target
        self.chunks = list(file.cut.chunks())
        self._part = target.with_name(target.name + suffix)
        self._map = target.with_name(target.name + suffix + MAP)
        self._lock = threading.Lock()
        self._have = bytearray((len(self.chunks) + 7) // 8)
        self._unsynced_bytes = 0
        self._aside = aside
        self._turn = threading.Lock()  # of those who want to flush
        self._flushing: Future[None] | None = None
        self._descriptor = -1
        self._finished = False
        if self.is_large:
            self._load_map()
        else:
            self._part.unlink(missing_ok=True)
        self.left = sum(not self.has(index) for index in range(len(self.chunks)))

    @property
    def is_large(self) -> bool:
        """Whether it has a map and is synced by itself."""
        return self.file.size > _MAPPED_ABOVE

    def has(self, index: int) -> bool:
        """Return whether chunk `index` is here and verified."""
        return bool(self._have[index // 8] >> (index % 8) & 1)

    def write(self, first: int, count: int, data: "bytes | memoryview") -> bool:
        """Store verified bytes of `count` chunks from `first`; return whether the file is complete now."""
        with self._borrowed() as descriptor:
            _write_all(descriptor, data, self.chunks[first][0], self.target)
        with self._lock:
            for index in range(first, first + count):
                if not self.has(index):
                    self._have[index // 8] |= 1 << index % 8
                    self.left -= 1
            self._unsynced_bytes += len(data)
            flush = self.is_large and self._unsynced_bytes >= _FLUSH_BYTES and self.left > 0
            done = self.left == 0
        if flush:
            self._flush_aside()
        return done

    def read(self, index: int) -> bytes:
        """Return the bytes of a chunk that is here, from the part or from the finished file."""
        offset, length, _ = self.chunks[index]
        with open(self.target if self._finished else self._part, "rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def _flush_aside(self) -> None:
        """Flush on the thread for it, once the flush before is done. Raises what that failed with."""
        with self._turn:
            self._flushed()
            self._flushing = self._aside.submit(self._flush)

    def _flushed(self) -> None:
        """Wait for a flush that runs aside. Raises what it failed with, every time: a failed sync counts."""
        if self._flushing is not None:
            self._flushing.result()

    def _flush(self) -> None:
        """Bring what is here to the disk and then say so in the map."""
        with self._lock:
            if self._descriptor < 0 or not self._unsynced_bytes:
                return
            promised = bytes(self._have)
            self._unsynced_bytes = 0
            descriptor = os.dup(self._descriptor)
        try:
            os.fdatasync(descriptor)
            with self._lock:
                if self._descriptor >= 0:
                    self._map.write_bytes(_MAGIC + self.file.root + promised)
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        """Bring the complete file to the disk."""
        self._flushed()
        with self._borrowed() as descriptor:
            os.ftruncate(descriptor, self.file.size)
            os.fsync(descriptor)

    def place(self) -> None:
        """Put the synced file in its place and remove the map."""
        if not self.file.size:
            self.sync()  # nothing was written, so nothing is there yet
        self._part.replace(self.target)
        self._finished = True
        if self.is_large:
            self._map.unlink(missing_ok=True)
            self._let_go()

    def close(self) -> None:
        """Keep what is here of a large file for the next pull and let go of it."""
        try:
            if self.is_large:
                self._flushed()
                self._flush()
        finally:
            self._let_go()
        if not self._finished and not self.is_large:
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _borrowed(self) -> Iterator[int]:
        """Give a descriptor of the part: kept open for a large file, opened for now for a small one."""
        if self.is_large:
            with self._lock:
                if self._descriptor < 0:
                    self._descriptor = self._open()
            yield self._descriptor
            return
        descriptor = self._open()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._part, flags, 0o644)
        except OSError as failure:
            raise unwritable(self._part, str(failure.strerror)) from failure

    def _let_go(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _load_map(self) -> None:
        """Go on with what a pull before this left, when it was of the same file."""
        head = _MAGIC + self.file.root
        try:
            found = self._map.read_bytes()
            size = self._part.stat().st_size
        except OSError:
            return
        if not found.startswith(head) or len(found) != len(head) + len(self._have):
            return
        self._have[:] = found[len(head) :]
        for index, (offset, length, _) in enumerate(self.chunks):
            if offset + length > size and self.has(index):
                self._have[index // 8] &= ~(1 << index % 8)


class Folders:
    """Makes the folders of a tree below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: set[Path] = set()

    def place(self, path: str) -> Path:
        """Return the place of a tree path, making its folders. Raises Invalid for anything in the way.

        A link among the folders could lead the write anywhere; a tree never contains one.
        """
        place = self._root
        *folders, name = path.split("/")
        for folder in folders:
            place = place / folder
            if place in self._known:
                continue
            try:
                place.mkdir()
            except FileExistsError:
                if place.is_symlink() or not place.is_dir():
                    raise _in_the_way(place) from None
            except OSError as failure:
                raise unwritable(place, str(failure.strerror)) from failure
            self._known.add(place)
        target = place / name
        if target.is_dir() and not target.is_symlink():
            raise _in_the_way(target)
        return target


def sync_all(parts: Sequence[Part], folder: Path) -> None:
    """Bring complete files to the disk: with one call for the whole file system where there is one."""
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is None or len(parts) < _FEW:
        for part in parts:
            part.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor):
            raise unwritable(folder, "the disk reported an error while it was synced")
    finally:
        os.close(descriptor)


def suffix_for(paths: Iterable[str]) -> str:
    """Return what to put behind the names of unfinished files so that they meet no file of the tree."""
    return OTHER_SUFFIX if any(path.endswith((SUFFIX, SUFFIX + MAP)) for path in paths) else SUFFIX


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: "bytes | memoryview", offset: int, target: Path) -> None:
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    except OSError as failure:
        raise unwritable(target, str(failure.strerror)) from failure


def unwritable(place: Path, why: str) -> LimitReached:
    """Return the error for a place that cannot be written to."""
    return LimitReached(
        f"Cannot write {place}: {why}.",
        reason="DISK_LOW",
        facts={"path": str(place)},
        next_step="Check permissions and room on the disk, then pull again; what is here already is kept.",
    )


def _in_the_way(place: Path) -> Invalid:
    return Invalid(
        f"Cannot pull over {place}: something else than the tree's own file or folder is there.",
        reason="BAD_PATH",
        facts={"path": str(place)},
        next_step="Move it away, or pull into another folder.",
    )
