"""Cut files into chunks: (offset, length, digest), in one pass over the bytes and with bounded memory.

A profile says how to cut and is recorded with each file, because the same bytes cut differently have another
root. The one profile so far is ``cdc``: FastCDC in its 2020 form, average 256 KiB, minimum 192 KiB, maximum
1 MiB, normalisation 2, seed 0. An edit moves only the cuts near it, so a new version shares all other chunks
with the old. ``tests/vectors/cdc.json`` holds examples for every language.

How it works: the caller's thread reads a window of 4 MiB and searches its cuts, while a second thread hashes
the chunks of the window before; all of that releases the GIL. Only the last piece of a window is uncertain,
so the next window begins with it. Windows are fresh memory: whoever wants to send chunks keeps them, and need
not read the file again.
"""

import os
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ingot.content import digests

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

CDC = "cdc"
PROFILES = (CDC,)

CDC_MIN_SIZE = 192 * 1024  # bytes below it are not searched: that halves the cost (docs/adr/0017)
CDC_AVG_SIZE = 256 * 1024
CDC_MAX_SIZE = 1024 * 1024

_WINDOW = 4 * 1024 * 1024
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


class ChunkerMissingError(Exception):
    """The compiled part of pyfastcdc is missing; its pure Python part has half a percent of the speed."""


def cut_file(path: str | os.PathLike[str], profile: str = CDC) -> Iterator[Chunk]:
    """Yield the chunks of the regular file at `path` in order; an empty file has none.

    Raises SourceChangedError when size or modification time differ after reading, ChunkerMissingError,
    OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        yield from cut(descriptor, before.st_size, profile)
        after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SourceChangedError(f"{os.fspath(path)} was modified while it was read; cut it again")
    finally:
        os.close(descriptor)


def cut(descriptor: int, size: int, profile: str = CDC) -> Iterator[Chunk]:
    """Yield the chunks of the first `size` bytes of an open file in order; the file position is not used.

    Raises SourceChangedError when the file ends before `size`.
    """
    for window in cut_windows(descriptor, size, profile):
        yield from window.chunks


def cut_windows(descriptor: int, size: int, profile: str = CDC) -> Iterator[Window]:
    """Yield the same chunks with their bytes, some megabytes at a time. Raises as `cut`."""
    _check_profile(profile)
    if size > _WINDOW:
        yield from _hashed_aside(descriptor, size)
    elif size:
        data = _read_full(descriptor, size, 0)
        small = size <= CDC_MIN_SIZE
        yield _hashed(0, data, [size] if small else certain_cuts(memoryview(data), last=True))


def cut_bytes(data: digests.Data, profile: str = CDC) -> Iterator[Chunk]:
    """Yield the chunks of bytes that are in memory already, in order."""
    _check_profile(profile)
    with memoryview(data) as view:
        for piece in _cdc().cut_buf(view):
            yield Chunk(piece.offset, piece.length, digests.chunk_digest(piece.data))


def _hashed_aside(descriptor: int, size: int) -> Iterator[Window]:
    helper = ThreadPoolExecutor(1, thread_name_prefix="ingot-hash")
    try:
        hashing: deque[Future[Window]] = deque()
        start = 0
        while start < size:
            data = _read_full(descriptor, min(_WINDOW, size - start), start)
            lengths = certain_cuts(memoryview(data), last=start + len(data) == size)
            hashing.append(helper.submit(_hashed, start, data, lengths))
            start += sum(lengths)
            if len(hashing) > _HASHING:
                yield hashing.popleft().result()
        while hashing:
            yield hashing.popleft().result()
    finally:
        helper.shutdown(wait=True, cancel_futures=True)


def certain_cuts(view: memoryview, *, last: bool) -> list[int]:
    """Return the lengths of the chunks that the bytes begin with, whatever follows them.

    A cut depends on the bytes before it alone, so only the piece that ends with the bytes is uncertain; with
    `last` nothing follows, and all of them are certain. More than CDC_MAX_SIZE bytes have at least one.
    """
    lengths = [piece.length for piece in _cdc().cut_buf(view)]
    if not last and lengths:
        lengths.pop()
    return lengths


def _hashed(start: int, data: bytes, lengths: list[int]) -> Window:
    chunks: list[Chunk] = []
    position = 0
    view = memoryview(data)
    for length in lengths:
        digest = digests.chunk_digest(view[position : position + length])
        chunks.append(Chunk(start + position, length, digest))
        position += length
    return Window(start, data, chunks)


def _read_full(descriptor: int, length: int, offset: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:  # the kernel may hand out less than asked for
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            end = offset + len(data)
            raise SourceChangedError(f"file ended at byte {end}, {length - len(data)} bytes early")
        data += more
    return data


def _check_profile(profile: str) -> None:
    if profile not in PROFILES:
        raise ValueError(f"unknown chunking profile {profile!r}, expected one of: {', '.join(PROFILES)}")


def _cdc() -> "FastCDC":
    # A cutter may serve one thread at a time; making one is cheap.
    return _cdc_class()(
        CDC_AVG_SIZE, min_size=CDC_MIN_SIZE, max_size=CDC_MAX_SIZE, normalized_chunking=2, seed=0
    )


@lru_cache(maxsize=1)
def _cdc_class() -> "type[FastCDC]":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about the case that is refused here
        import pyfastcdc
    if not pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy"):
        raise ChunkerMissingError(
            "the compiled extension of pyfastcdc is missing; install a wheel of pyfastcdc for this platform, "
            "or a C compiler, then run: pip install --force-reinstall --no-binary pyfastcdc pyfastcdc"
        )
    return pyfastcdc.FastCDC
