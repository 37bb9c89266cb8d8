"""Reading a part of a file in small steps: buffered, forward, and whatever is asked for bounded.

    Window(source, start, end)   a part of the file as it is
    Unpacked(source, kind)       what a packed file holds, unpacked on the way

Both count from the beginning of their content; skipping costs no memory, and in a window no reading.
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from ingot.server.formats.seam import READ_BYTES, BinarySource

_AHEAD = 64 * 1024
_MOST_RATIO = 1000  # unpacked to packed bytes
_RATIO_FROM = 64 * 1024 * 1024
_LZMA_MEMORY = 128 * 1024 * 1024
_MAGICS = {
    "zlib": (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
    "bz2": (b"BZh",),
    "xz": (b"\xfd7zXZ",),
    "lzma": (b"\x5d\x00",),
    "lz4": (b"\x04\x22\x4d\x18",),
}


class Damaged(Exception):
    """The content ends too early or breaks the rules of its format; `reason` is that of the finding."""

    def __init__(self, message: str, reason: str = "pickle_damaged") -> None:
        super().__init__(message)
        self.reason = reason


def packed_with(head: bytes) -> str | None:
    """Return how a joblib file is packed, by how it begins; None when it is not."""
    return next((kind for kind, magics in _MAGICS.items() if head.startswith(magics)), None)


class Pieces(Protocol):
    """Bytes in order, read in pieces."""

    @property
    def place(self) -> int:
        """Bytes gone by."""

    def take(self, size: int) -> bytes:
        """Return exactly the next `size` bytes. Raises Damaged when there are fewer."""

    def line(self, most: int) -> bytes:
        """Return the next line without its end. Raises Damaged when it has more than `most` bytes."""

    def skip(self, size: int) -> None:
        """Go past the next `size` bytes. Raises Damaged when there are fewer."""

    def ended(self) -> bool:
        """Return whether nothing is left."""


class _Buffered:
    """What both have in common; a child says where more bytes come from."""

    def __init__(self) -> None:
        self._held = b""
        self._at = 0  # in what is held
        self._before = 0  # bytes gone by before what is held

    @property
    def place(self) -> int:
        """Bytes gone by."""
        return self._before + self._at

    def take(self, size: int) -> bytes:
        """Return exactly the next `size` bytes. Raises Damaged when there are fewer."""
        end = self._at + size
        if end > len(self._held):
            self._need(size)
            end = self._at + size
        data = self._held[self._at : end]
        self._at = end
        return data

    def line(self, most: int) -> bytes:
        """Return the next line without its end. Raises Damaged when it has more than `most` bytes."""
        looked = 0
        while (end := self._held.find(b"\n", self._at + looked)) < 0:
            looked = len(self._held) - self._at
            if looked > most:
                raise Damaged(f"A line has more than {most} bytes.")
            self._need(looked + 1)
        data = self._held[self._at : end]
        self._at = end + 1
        return data

    def skip(self, size: int) -> None:
        """Go past the next `size` bytes. Raises Damaged when there are fewer."""
        held = min(size, len(self._held) - self._at)
        self._at += held
        size -= held
        while size:
            step = min(size, READ_BYTES)
            self.take(step)
            size -= step

    def ended(self) -> bool:
        """Return whether nothing is left."""
        return self._at >= len(self._held) and not self._fill()

    def _need(self, size: int) -> None:
        while len(self._held) - self._at < size:
            if not self._fill():
                raise Damaged(f"The content ends after {self.place + len(self._held) - self._at} bytes.")

    def _fill(self) -> bool:
        more = self._more()
        self._before += self._at
        self._held = self._held[self._at :] + more
        self._at = 0
        return bool(more)

    def _more(self) -> bytes:
        raise NotImplementedError


class Window(_Buffered):
    """The bytes from `start` to `end` of a source."""

    def __init__(self, source: BinarySource, start: int = 0, end: int | None = None) -> None:
        super().__init__()
        self._source = source
        self._next = start
        self._end = end

    def skip(self, size: int) -> None:
        """Go past the next `size` bytes. Raises Damaged when there are fewer."""
        beyond = size - (len(self._held) - self._at)
        if self._end is None or beyond <= 0:
            super().skip(size)
            return
        if self._next + beyond > self._end:
            raise Damaged(f"{size} bytes should follow; the content ends before.")
        self._before += self._at + size
        self._next += beyond
        self._held, self._at = b"", 0

    def _more(self) -> bytes:
        size = _AHEAD if self._end is None else min(_AHEAD, self._end - self._next)
        if size <= 0:
            return b""
        if self._source.tell() != self._next:
            self._source.seek(self._next, io.SEEK_SET)
        data = self._source.read(size)
        self._next += len(data)
        return data


class Unpacked(_Buffered):
    """What is packed in a source, by one of the ways that joblib packs with."""

    def __init__(self, source: BinarySource, kind: str) -> None:
        super().__init__()
        self._source = source
        self._unpack = _UNPACKERS[kind]()
        self._done = 0
        source.seek(0)

    def _more(self) -> bytes:
        try:
            data = self._unpack.next(self._source)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as failure:
            if isinstance(failure, OSError) and failure.errno is not None:
                raise  # of the source
            raise Damaged(f"The packed data is damaged: {failure}") from None
        self._done += len(data)
        if self._done > _RATIO_FROM and self._done > _MOST_RATIO * self._source.tell():
            message = (
                f"It unpacks to more than {_MOST_RATIO} times its size; pack it again with real content."
            )
            raise Damaged(message, "pack_bomb")
        return data


class _Unpacker(Protocol):
    def next(self, source: BinarySource) -> bytes:
        """Return the next unpacked bytes, at most _AHEAD; none at the end."""


class _Zlib:
    def __init__(self) -> None:
        self._engine = zlib.decompressobj()

    def next(self, source: BinarySource) -> bytes:
        data = b""
        while not data and not self._engine.eof:
            packed = self._engine.unconsumed_tail or source.read(_AHEAD)
            if not packed:
                raise EOFError("it ends too early")
            data = self._engine.decompress(packed, _AHEAD)
        return data


class _Blocks:
    def __init__(self, engine: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._engine = engine

    def next(self, source: BinarySource) -> bytes:
        data = b""
        while not data and not self._engine.eof:
            packed = source.read(_AHEAD) if self._engine.needs_input else b""
            if not packed and self._engine.needs_input:
                raise EOFError("it ends too early")
            data = self._engine.decompress(packed, _AHEAD)
        return data


_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {
    "zlib": _Zlib,
    "bz2": lambda: _Blocks(bz2.BZ2Decompressor()),
    "xz": lambda: _Blocks(lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
    "lzma": lambda: _Blocks(lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
}
