"""Cut files into chunks: (offset, length, digest), in one pass over the bytes and with bounded memory.

Where to cut is the affair of `cuts.py`; ``tests/vectors/`` holds examples for every language.

How it works: the caller's thread reads a window of 4 MiB and searches its cuts, while a second thread hashes
the chunks of the window before; all of that releases the GIL. What stands behind the last certain cut of a
window begins the next one. Windows are fresh memory: whoever wants to send chunks keeps them, and need not
read the file again.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ingot.content import cuts, digests, layouts
from ingot.content.cuts import Cuts

_HASHING = 2  # windows that are hashed while the next is searched


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of a file's bytes and the digest under which it is stored."""

    offset: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Window:
    """A run of chunks with their bytes: those from offset `start` of the file."""

    start: int
    data: bytes
    chunks: list[Chunk]


class SourceChangedError(Exception):
    """The file was changed by somebody while it was read; cut it again."""


def cut_file(path: str | os.PathLike[str], found: Cuts | None = None) -> Iterator[Chunk]:
    """Yield the chunks of the regular file at `path` in order; an empty file has none.

    Give fresh cuts to choose the profile, or to ask them for it afterwards. Raises SourceChangedError when
    size or modification time differ after reading, ChunkerMissingError, OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        yield from cut(descriptor, before.st_size, found)
        after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SourceChangedError(f"{os.fspath(path)} was modified while it was read; cut it again")
    finally:
        os.close(descriptor)


def cut(descriptor: int, size: int, found: Cuts | None = None) -> Iterator[Chunk]:
    """Yield the chunks of the first `size` bytes of an open file in order; its file position may move.

    Raises SourceChangedError when the file ends before `size`.
    """
    for window in cut_windows(descriptor, size, found or Cuts()):
        yield from window.chunks


def cut_windows(descriptor: int, size: int, found: Cuts) -> Iterator[Window]:
    """Yield the same chunks with their bytes, some megabytes at a time. Raises as `cut`."""
    if size > cuts.CDC_MIN_SIZE and found.wants_layout and (layout := layouts.find(descriptor, size)):
        found.use(layout)
    if size > cuts.WINDOW:
        yield from _hashed_aside(descriptor, size, found)
    elif size:
        data = _read_full(descriptor, size, 0)
        small = size <= cuts.CDC_MIN_SIZE and not layouts.may_have_one(data[: layouts.SNIFFED])
        yield _hashed(0, data, [size] if small else found.certain(memoryview(data), last=True))


def cut_bytes(data: digests.Data, found: Cuts | None = None) -> Iterator[Chunk]:
    """Yield the chunks of bytes that are in memory already, in order."""
    with memoryview(data) as view:
        yield from _chunks(0, view, (found or Cuts()).certain(view, last=True))


def _hashed_aside(descriptor: int, size: int, found: Cuts) -> Iterator[Window]:
    helper = ThreadPoolExecutor(1, thread_name_prefix="ingot-hash")
    try:
        hashing: deque[Future[Window]] = deque()
        start = 0
        while start < size:
            data = _read_full(descriptor, min(found.window(), size - start), start)
            lengths = found.certain(memoryview(data), last=start + len(data) == size)
            hashing.append(helper.submit(_hashed, start, data, lengths))
            start += sum(lengths)
            if len(hashing) > _HASHING:
                yield hashing.popleft().result()
        while hashing:
            yield hashing.popleft().result()
    finally:
        helper.shutdown(wait=True, cancel_futures=True)


def _hashed(start: int, data: bytes, lengths: Sequence[int]) -> Window:
    return Window(start, data, list(_chunks(start, memoryview(data), lengths)))


def _chunks(start: int, view: memoryview, lengths: Sequence[int]) -> Iterator[Chunk]:
    position = 0
    for length in lengths:
        digest = digests.chunk_digest(view[position : position + length])
        yield Chunk(start + position, length, digest)
        position += length


def _read_full(descriptor: int, length: int, offset: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:  # the kernel may hand out less than asked for
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            end = offset + len(data)
            raise SourceChangedError(f"file ended at byte {end}, {length - len(data)} bytes early")
        data += more
    return data
