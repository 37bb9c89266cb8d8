"""Cut files into chunks: (offset, length, digest), in one pass over the bytes and with bounded memory.

A profile says how to cut and is recorded with each file, because the same bytes cut differently have another
root. The one profile so far is ``cdc``: FastCDC in its 2020 form, average 256 KiB, minimum 192 KiB, maximum
1 MiB, normalisation 2, seed 0. An edit moves only the cuts near it, so a new version shares all other chunks
with the old. ``tests/vectors/cdc.json`` holds examples for every language.

How it works: the file is read in windows of 8 MiB into three buffers that take turns. The caller's thread
searches the cuts of one window while a second thread reads the next window and hashes the chunks of the
previous one; all three release the GIL. What remains behind the last certain cut of a window is copied in
front of the next.
"""

import os
import warnings
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

_WINDOW = 8 * 1024 * 1024
_BUFFERS = 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of a file's bytes and the digest under which it is stored."""

    offset: int
    length: int
    digest: bytes


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
    _check_profile(profile)
    if size <= _WINDOW:
        buffer = memoryview(bytearray(size))
        _read_full(descriptor, buffer, 0)
        yield from cut_bytes(buffer, profile)
    else:
        yield from _cut_windows(descriptor, size)


def cut_bytes(data: digests.Data, profile: str = CDC) -> Iterator[Chunk]:
    """Yield the chunks of bytes that are in memory already, in order."""
    _check_profile(profile)
    with memoryview(data) as view:
        for piece in _cdc().cut_buf(view):
            yield Chunk(piece.offset, piece.length, digests.chunk_digest(piece.data))


def _cut_windows(descriptor: int, size: int) -> Iterator[Chunk]:
    # Each buffer keeps CDC_MAX_SIZE bytes free in front, so that a window can be read before the length of
    # what the previous window left over is known. One helper thread, first in first out: the read into a
    # buffer is always queued behind the hashing that still needs the buffer's old content.
    buffers = [memoryview(bytearray(CDC_MAX_SIZE + _WINDOW)) for _ in range(_BUFFERS)]
    helper = ThreadPoolExecutor(1, thread_name_prefix="ingot-cut")
    try:
        hashing: Future[list[Chunk]] | None = None
        carried = 0
        window, end = 0, min(_WINDOW, size)
        reading = helper.submit(_read_full, descriptor, _window_of(buffers[0], end), 0)
        while window * _WINDOW < size:
            reading.result()
            start = window * _WINDOW
            buffer = buffers[window % _BUFFERS]
            following = buffers[(window + 1) % _BUFFERS]
            filled = end - start
            if end < size:
                next_end = min(end + _WINDOW, size)
                reading = helper.submit(_read_full, descriptor, _window_of(following, next_end - end), end)
            view = buffer[CDC_MAX_SIZE - carried : CDC_MAX_SIZE + filled]
            cuts = certain_cuts(view, last=end == size)
            done = sum(cuts)
            ready, hashing = hashing, helper.submit(_hash_run, view, cuts, start - carried)
            carried = len(view) - done
            following[CDC_MAX_SIZE - carried : CDC_MAX_SIZE] = view[done:]
            if ready is not None:
                yield from ready.result()
            window, end = window + 1, min(end + _WINDOW, size)
        if hashing is not None:
            yield from hashing.result()
    finally:
        helper.shutdown(wait=True, cancel_futures=True)


def certain_cuts(view: memoryview, *, last: bool) -> list[int]:
    """Return the lengths of the cdc chunks at the start of `view` that further bytes cannot change.

    With `last` nothing follows, and they cover all of it.
    """
    # A cut depends on at most CDC_MAX_SIZE bytes after the chunk's start: nearer to the end of the window,
    # more bytes could still move it, unless the file ends here.
    lengths: list[int] = []
    position = 0
    for piece in _cdc().cut_buf(view):
        if not last and len(view) - position < CDC_MAX_SIZE:
            break
        lengths.append(piece.length)
        position += piece.length
    return lengths


def _hash_run(view: memoryview, lengths: list[int], offset: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    position = 0
    for length in lengths:
        digest = digests.chunk_digest(view[position : position + length])
        chunks.append(Chunk(offset + position, length, digest))
        position += length
    return chunks


def _window_of(buffer: memoryview, length: int) -> memoryview:
    return buffer[CDC_MAX_SIZE : CDC_MAX_SIZE + length]


def _read_full(descriptor: int, buffer: memoryview, offset: int) -> None:
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if count == 0:
            raise SourceChangedError(f"file ended at byte {offset + done}, {len(buffer) - done} bytes early")
        done += count


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
