"""The bytes of a tar from people we do not trust, as `tarfile` gets to see them.

They are read forward only, so a packed tar needs no place to unpack to. tarfile keeps what headers say,
copies it for every header behind them and searches it slowly; so what headers may take is bounded here, for
one member and, where they hold for all, for the whole tar.
"""

import io
import re
import tarfile
from typing import Protocol

from ingot.server.sources.unpacked_trees import UnpackedTree

END = bytes(512)  # a tar ends with such blocks
_HEADER_BYTES = 256 * 1024  # in front of one member
_GLOBAL_BYTES = 64 * 1024  # of headers that hold for all members
_MOST_EXTENSIONS = 8  # headers in front of one member; honest ones have three
_EXTENSIONS = (
    *(tarfile.XGLTYPE, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_DIGITS = re.compile(rb"[0-9]{256}")  # tarfile looks through longer numbers once for every digit
_PIECE = 1024 * 1024


class Readable(Protocol):
    """Whatever gives bytes, at most so many at once; none at its end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


class TarBytes(io.RawIOBase):
    """The bytes of a tar, read forward only: counts those that headers take, and remembers the last ones."""

    def __init__(self, source: Readable, tree: UnpackedTree) -> None:
        self._source, self._tree = source, tree
        self._at = 0
        self._left: int | None = None  # that headers may still take, None is any number
        self._extensions = self._globals = 0
        self.tail = b""

    def read(self, size: int = -1, /) -> bytes:
        """Read as files do. Raises HeaderError, Precondition (TOO_LARGE)."""
        pieces: list[bytes] = []
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise tarfile.HeaderError("a header is larger than any honest one")
        while size and (data := self._source.read(size)):
            pieces.append(data)
            size -= len(data)
            self._at += len(data)
            self._tree.expect_unpacked(self._at)
            self.tail = (self.tail + data)[-len(END) :]
        whole = b"".join(pieces)
        if self._left is not None and _DIGITS.search(whole):
            raise tarfile.HeaderError("a header has a number longer than any honest one")
        return whole

    def tell(self) -> int:
        """Return how many bytes came."""
        return self._at

    def seek(self, place: int, whence: int = 0, /) -> int:
        """Skip bytes. Raises ReadError for a place that is behind."""
        if place < self._at:
            raise tarfile.ReadError("its headers lead backwards")
        while (missing := place - self._at) and self.read(min(missing, _PIECE)):
            pass
        return self._at

    def begin_member(self) -> None:
        """Expect headers."""
        self._left, self._extensions = _HEADER_BYTES, 0

    def begin_content(self) -> None:
        """Expect the bytes of a file, or what follows the last one."""
        self._left = None

    def take(self, info: tarfile.TarInfo) -> None:
        """Look at a header that was read. Raises HeaderError."""
        if info.size < 0 or info.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.HeaderError("a header is sparse or has a negative size")
        if info.type == tarfile.XGLTYPE:
            self._globals += info.size
        if info.type in _EXTENSIONS:
            self._extensions += 1
        if self._globals > _GLOBAL_BYTES or self._extensions > _MOST_EXTENSIONS:
            raise tarfile.HeaderError("it has more headers than any honest one")


def headers_of(taken: TarBytes) -> type[tarfile.TarInfo]:
    """Return the kind of headers that are looked at as they are read."""

    class Info(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Info":
            info = super().frombuf(buf, encoding, errors)
            taken.take(info)
            return info

    return Info
