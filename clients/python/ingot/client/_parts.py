"""Files on their way here, each in a part of its own that is renamed into place when all of it is there.

Nobody ever sees half a file under its real name. A part that an earlier pull left is read: the chunks that
are right as they stand are kept, whatever happened to it meanwhile, and nothing else is believed. While a
large file comes in, a thread beside the lanes brings it to the disk, so that the sync at the end is short.
Small files are simply fetched again; and they are synced many at a time, because one sync for each would
take longer than to fetch it.
"""

import ctypes
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path

from ingot.client import _copying
from ingot.client._errors import Conflict
from ingot.client._journal import FileState
from ingot.client._manifest import TreeFile
from ingot.client._places import unwritable
from ingot.client._seeds import compared, is_chunk

_LARGE_ABOVE = 8 * 1024 * 1024  # bytes
_FLUSH_BYTES = 64 * 1024 * 1024
_FEW = 16  # files for which a sync of everything is not worth it
_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW = _OPEN | os.O_CREAT | os.O_EXCL


def is_large(file: TreeFile) -> bool:
    """Return whether a file is gone on with after a stop, and synced by itself."""
    return file.size > _LARGE_ABOVE


class Part:
    """One file that is being fetched; lanes may write into it side by side.

    It lies at `place` until it is complete; `aside` runs its flushes.
    """

    def __init__(self, file: TreeFile, target: str, place: str, aside: Executor) -> None:
        self.file = file
        self.target = target
        self.chunks = list(file.cut.chunks())
        self.left = len(self.chunks)
        self._place = place
        self._lock = threading.Lock()
        self._have = bytearray((len(self.chunks) + 7) // 8)
        self._unsynced_bytes = 0
        self._aside = aside
        self._turn = threading.Lock()  # of those who want to flush
        self._flushing: Future[None] | None = None
        self._descriptor = -1
        self._users = 0  # of the descriptor: a lane may still write when a pull is given up
        self._stamp: tuple[int, int] | None = None  # of the part as we left it
        self._doubtful = False  # somebody else may have written to it
        self._finished = self._closed = False

    @property
    def is_large(self) -> bool:
        """Whether it is gone on with after a stop, and synced by itself."""
        return is_large(self.file)

    def has(self, index: int) -> bool:
        """Return whether chunk `index` is here and verified."""
        return bool(self._have[index // 8] >> (index % 8) & 1)

    def take_over(self, read: Callable[[], None]) -> None:
        """Keep the chunks that are right in what an earlier pull left; `read` is called after each.

        All of it is read: a crash, a disk or a person may have changed it since it was written.
        """
        try:
            descriptor = os.open(self._place, _OPEN)
        except OSError:  # of somebody else, or no file at all
            self._remove()
            return
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink != 1:  # it would be written to under another name
            os.close(descriptor)
            self._remove()
            return
        self._descriptor, self._stamp = descriptor, _stamp_of(seen)
        for index, (offset, length, _) in enumerate(self.chunks):
            with suppress(OSError):  # a part of the disk that cannot be read
                if _is_written(descriptor, offset, length):
                    self._check(index, descriptor)
            read()

    def write(self, first: int, count: int, data: "Sequence[bytes | memoryview]") -> bool:
        """Store verified bytes, in parts, of `count` chunks from `first`; return whether it was the last."""
        if count == len(self.chunks) and not self.is_large and self._stamp is None:
            self._write_whole(data)
            return True
        offset = start = self.chunks[first][0]
        with self._borrowed() as descriptor:
            for part in data:
                _write_all(descriptor, part, offset, self.target)
                offset += len(part)
        return self._mark(first, count, offset - start)

    def _write_whole(self, data: "Sequence[bytes | memoryview]") -> None:
        """Store a small file of which nothing is here, as most come: one open file, looked at once."""
        with self._lock:
            if self._closed:
                raise self._taken()
            descriptor = self._opened(_NEW)
            try:
                offset = 0
                for part in data:
                    _write_all(descriptor, part, offset, self.target)
                    offset += len(part)
            finally:
                self._stamp = _stamp_of(os.fstat(descriptor))
                os.close(descriptor)
            self._have = bytearray(b"\xff" * len(self._have))
            self.left = 0

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
        right = is_chunk(mine, offset, length, digest)
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
            done = self.left == 0
            flush = self.is_large and self._unsynced_bytes >= _FLUSH_BYTES and not done
            if flush:
                self._unsynced_bytes = 0
        if flush:
            self._flush_aside()
        return done

    def read(self, index: int) -> bytes:
        """Return the bytes of a chunk that is here, from the part or from the finished file."""
        offset, length, _ = self.chunks[index]
        with open(self.target if self._finished else self._place, "rb", buffering=0) as file:
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
        """Bring what is here to the disk, unless the pull was given up meanwhile."""
        with suppress(Conflict), self._borrowed() as descriptor:
            os.fdatasync(descriptor)

    def make_empty(self) -> None:
        """Make the part of an empty file: nothing is ever written to it."""
        with self._borrowed() as descriptor:
            os.ftruncate(descriptor, 0)

    def sync(self) -> None:
        """Bring the complete file to the disk."""
        self._flushed()
        with self._borrowed() as descriptor:
            os.ftruncate(descriptor, self.file.size)
            os.fsync(descriptor)
            self._stamp = _stamp_of(os.fstat(descriptor))

    def put(self, folder: int) -> FileState:
        """Put the synced file in its place and return its state there. Raises Conflict, LimitReached.

        `folder` is a descriptor of the one it belongs into: what its path leads to may be another by now.
        """
        with self._lock:
            if self._closed:  # the pull was given up, and another one may be at work by now
                raise self._taken()
            try:
                state = self._move(folder)
            except FileNotFoundError as failure:
                raise self._taken() from failure
            except OSError as failure:
                raise unwritable(self.target, str(failure.strerror)) from failure
            self._finished = True
            self._let_go()
        return state

    def close(self) -> None:
        """Let go of it, and write nothing after that; what is here of a large file stays."""
        with self._lock:
            self._closed = True
            self._let_go()
        if not self._finished and not self.is_large and self._stamp:
            self._remove()

    def _move(self, folder: int) -> FileState:
        """Rename the part; carry it over where the folder of the target is on another file system.

        A part that is not as we left it is read before: it may be somebody else's.
        """
        if self._doubtful or _stamp_of(os.lstat(self._place)) != self._stamp:
            self._require_intact()
        name = os.path.basename(self.target)
        try:
            os.replace(self._place, name, dst_dir_fd=folder)
        except OSError as failure:
            if failure.errno != errno.EXDEV:
                raise
            self._carry(folder, name)
        return FileState.of(os.lstat(name, dir_fd=folder))

    def _require_intact(self) -> None:
        if not compared(Path(self._place), self.file):
            raise self._taken()

    def _carry(self, folder: int, name: str) -> None:
        beside = f".{os.path.basename(self._place)}.ingot-pull"
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=folder)
        source, sink = os.open(self._place, _OPEN), os.open(beside, _NEW, 0o644, dir_fd=folder)
        try:
            for offset, length, digest in self.chunks:
                _copying.copy_range(source, offset, sink, offset, length)
                if not is_chunk(sink, offset, length, digest):
                    raise self._taken()
            os.fsync(sink)
            os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(source)
            os.close(sink)
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=folder)
        os.unlink(self._place)

    @contextmanager
    def _borrowed(self) -> Iterator[int]:
        """Give a descriptor of the part: kept open for a large file, opened for now for a small one."""
        with self._lock:
            if self._closed:
                raise self._taken()
            if self._descriptor < 0:
                self._descriptor = self._open()
            self._users += 1
            descriptor = self._descriptor
        try:
            yield descriptor
        finally:
            with self._lock:
                self._users -= 1
                self._let_go()

    def _let_go(self) -> None:
        """Close the descriptor when nobody uses it and nobody will, or when there are many such files."""
        over = self._closed or self._finished or not self.is_large
        if over and not self._users and self._descriptor >= 0:
            if not self.is_large:
                self._stamp = _stamp_of(os.fstat(self._descriptor))
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        """Return a descriptor of the part, which is made the first time and must be the same ever after."""
        descriptor = self._opened(_OPEN if self._stamp else _NEW)
        stamp = _stamp_of(os.fstat(descriptor))
        self._doubtful |= self._stamp not in (None, stamp)
        self._stamp = stamp
        return descriptor

    def _opened(self, flags: int) -> int:
        try:
            return os.open(self._place, flags, 0o644)
        except OSError as failure:
            if failure.errno in (errno.EEXIST, errno.ENOENT):
                raise self._taken() from failure
            raise unwritable(self._place, str(failure.strerror)) from failure

    def _remove(self) -> None:
        with suppress(OSError):
            os.unlink(self._place)

    def _taken(self) -> Conflict:
        return Conflict(
            f"Somebody took {self._place} away or replaced it while {self.target} was fetched.",
            reason="LOCAL_CHANGES",
            facts={"path": self.target},
            next_step="See that nothing else writes into the folder, then pull again: what is here is kept.",
        )


def sync_all(parts: Sequence[Part], folder: Path) -> None:
    """Bring complete files to the disk: with one call for the whole file system where there is one."""
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is None or len(parts) < _FEW:
        for part in parts:
            part.sync()
        return
    for part in parts:
        if not part.file.size:
            part.make_empty()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor):
            raise unwritable(folder, "the disk reported an error while it was synced")
    finally:
        os.close(descriptor)


def _stamp_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_mtime_ns


def _is_written(descriptor: int, offset: int, length: int) -> bool:
    """Return whether anything of a range was written; True where a file system does not tell."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) < offset + length
    except OSError as failure:
        return failure.errno != errno.ENXIO  # nothing follows


def _write_all(descriptor: int, data: "bytes | memoryview", offset: int, target: str) -> None:
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    except OSError as failure:
        raise unwritable(target, str(failure.strerror)) from failure
