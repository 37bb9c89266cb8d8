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
from contextlib import contextmanager, suppress
from pathlib import Path

from ingot.client import _copying
from ingot.client._manifest import TreeFile
from ingot.client._places import unwritable
from ingot.content import digests

SUFFIX = ".part"
OTHER_SUFFIX = ".ingot-part"  # for trees that have files called *.part themselves
MAP = ".map"  # behind the suffix
_MAPPED_ABOVE = 8 * 1024 * 1024  # bytes
_FLUSH_BYTES = 64 * 1024 * 1024
_FEW = 16  # files for which a sync of everything is not worth it
_MAGIC = b"ingot part 1\n"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Part:
    """One file that is being fetched; lanes may write into it side by side.

    `aside` runs its flushes, `begun` says whether something may have been left of it by an earlier pull.
    """

    def __init__(self, file: TreeFile, target: str, suffix: str, aside: Executor, *, begun: bool) -> None:
        self.file = file
        self.target = target
        self.chunks = list(file.cut.chunks())
        self._part = target + suffix
        self._lock = threading.Lock()
        self._have = bytearray((len(self.chunks) + 7) // 8)
        self._unsynced_bytes = 0
        self._aside = aside
        self._turn = threading.Lock()  # of those who want to flush
        self._flushing: Future[None] | None = None
        self._descriptor = -1
        self._finished = False
        if begun and self.is_large:
            self._load_map()
        elif begun:
            Path(self._part).unlink(missing_ok=True)
        self.left = sum(not self.has(index) for index in range(len(self.chunks)))

    @property
    def is_large(self) -> bool:
        """Whether it has a map and is synced by itself."""
        return self.file.size > _MAPPED_ABOVE

    def has(self, index: int) -> bool:
        """Return whether chunk `index` is here and verified."""
        return bool(self._have[index // 8] >> (index % 8) & 1)

    def write(self, first: int, count: int, data: "Sequence[bytes | memoryview]") -> bool:
        """Store verified bytes, in parts, of `count` chunks from `first`; return whether it was the last."""
        offset = start = self.chunks[first][0]
        with self._borrowed() as descriptor:
            for part in data:
                _write_all(descriptor, part, offset, self.target)
                offset += len(part)
        return self._mark(first, count, offset - start)

    def take_from(self, source: int) -> bool:
        """Take the chunks that an open copy of the file has; return False when one of them was wrong.

        Each chunk is checked as it stands here, after it was copied.
        """
        if self.share(source):
            return self.left == 0
        right = True
        with suppress(OSError), self._borrowed() as mine:  # what is fetched for it then tells what is wrong
            for index, (offset, length, _) in enumerate(self.chunks):
                if not self.has(index):
                    _copying.copy_range(source, offset, mine, offset, length)
                    right &= self._check(index, mine)
        return right

    def share(self, source: int) -> bool:
        """Share blocks with an open file, and keep the chunks that it has in their place.

        Only a large file of which nothing is here, and where the file system can; else return False.
        """
        if not self.is_large or self.left < len(self.chunks):
            return False
        with suppress(OSError), self._borrowed() as mine:
            if _copying.clone(source, mine):
                for index in range(len(self.chunks)):
                    self._check(index, mine)
                return True
        return False

    def _check(self, index: int, mine: int) -> bool:
        """Note that a chunk is here if it is right as it stands in the part; return whether it is."""
        offset, length, digest = self.chunks[index]
        data = os.pread(mine, length, offset)
        right = len(data) == length and digests.chunk_digest(data) == digest
        if right:
            self._mark(index, 1, length)
        return right

    def _mark(self, first: int, count: int, size: int) -> bool:
        """Note that chunks are here; return whether the file is complete now."""
        with self._lock:
            for index in range(first, first + count):
                if not self.has(index):
                    self._have[index // 8] |= 1 << index % 8
                    self.left -= 1
            self._unsynced_bytes += size
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
                    Path(self._part + MAP).write_bytes(_MAGIC + self.file.root + promised)
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
        os.replace(self._part, self.target)
        self._finished = True
        if self.is_large:
            Path(self._part + MAP).unlink(missing_ok=True)
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
            Path(self._part).unlink(missing_ok=True)

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
        try:
            return os.open(self._part, _FLAGS, 0o644)
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
            found = Path(self._part + MAP).read_bytes()
            size = os.stat(self._part).st_size
        except OSError:
            return
        if not found.startswith(head) or len(found) != len(head) + len(self._have):
            return
        self._have[:] = found[len(head) :]
        for index, (offset, length, _) in enumerate(self.chunks):
            if offset + length > size and self.has(index):
                self._have[index // 8] &= ~(1 << index % 8)


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


def _write_all(descriptor: int, data: "bytes | memoryview", offset: int, target: str) -> None:
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    except OSError as failure:
        raise unwritable(target, str(failure.strerror)) from failure
