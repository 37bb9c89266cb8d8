"""Zip archives that hold a model: bounded, and refused where two readers may see different things.

PyTorch and Keras read zips less strictly than `zipfile`, so names twice, an entry that says one thing in the
directory and another where it begins, and flags of encryption are errors.
"""

import io
import struct
import zipfile
from typing import IO

from ingot.server.formats.pickle_pieces import Damaged
from ingot.server.formats.seam import BinarySource

MAGIC = b"PK\x03\x04"
_DIRECTORY_BYTES = 16 * 1024 * 1024
_END = struct.Struct("<4s4H2LH")  # of the directory
_END_REACH = _END.size + 0xFFFF
_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_RATIO = 250
_RATIO_FROM = 64 * 1024 * 1024
_ENCRYPTED = 1


def archive(source: BinarySource) -> zipfile.ZipFile:
    """Open a zip. Raises Damaged, and what `zipfile` raises."""
    _check_directory(source)
    source.seek(0)
    return zipfile.ZipFile(io.BufferedReader(_Raw(source)))


def _check_directory(source: BinarySource) -> None:
    """Refuse a directory that would not fit into memory, before it is read. Raises Damaged."""
    reach = min(source.size, _END_REACH)
    source.seek(source.size - reach)
    tail = source.read(reach)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise Damaged("The zip has no directory at its end; it may be cut.", "zip_damaged")
    size = _END.unpack_from(tail, at)[5]
    wide = tail.rfind(b"PK\x06\x06", 0, at)
    if wide >= 0 and at - wide >= 48:
        size = max(size if size != 0xFFFFFFFF else 0, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if size > _DIRECTORY_BYTES:
        raise Damaged(
            f"The directory of the zip has {size} bytes; at most {_DIRECTORY_BYTES}.", "zip_damaged"
        )


def check_entry(source: BinarySource, entry: zipfile.ZipInfo, names: set[str]) -> int:
    """Return where the bytes of an entry begin, having looked at its headers; `names` are those before it.

    Raises Damaged.
    """
    name = entry.filename
    shown = repr(name[:100])
    if name in names:
        raise Damaged(f"{shown} is in the zip twice.", "zip_damaged")
    names.add(name)
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name[:2]:
        raise Damaged(f"The zip writes outside its folder: {shown}.", "path_unsafe")
    start = _content_start(source, entry)
    if entry.compress_type == zipfile.ZIP_STORED:
        if entry.compress_size != entry.file_size:
            raise Damaged(f"{shown} has two sizes.", "zip_damaged")
    elif entry.file_size > _RATIO_FROM and entry.file_size > _MOST_RATIO * entry.compress_size:
        raise Damaged(f"{shown} unpacks to more than {_MOST_RATIO} times its size.", "zip_bomb")
    return start


def _content_start(source: BinarySource, entry: zipfile.ZipInfo) -> int:
    """Return where an entry's bytes begin, having compared its two headers. Raises Damaged."""
    source.seek(entry.header_offset)
    header = source.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(MAGIC):
        raise Damaged(f"{entry.filename[:100]!r} is not where the directory says.", "zip_damaged")
    name_size: int
    extra_size: int
    _, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack(header)
    name = source.read(name_size)
    if (flags | entry.flag_bits) & _ENCRYPTED:
        raise Damaged(
            f"{entry.filename[:100]!r} says it is encrypted; it would be loaded all the same.", "zip_damaged"
        )
    if (
        name != entry.orig_filename.encode("utf-8" if flags & 0x800 else "cp437")
        or method != entry.compress_type
    ):
        raise Damaged(
            f"{entry.filename[:100]!r} is named or packed otherwise where it begins.", "zip_damaged"
        )
    return entry.header_offset + _LOCAL.size + name_size + extra_size


class _Raw(io.RawIOBase):
    """A source as `io` wants it."""

    def __init__(self, source: BinarySource) -> None:
        self._source = source
        self._at: int = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        self._source.seek(self._at)  # the entries are read from the same source
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Opened:
    """An entry that is unpacked on the way, as a source."""

    def __init__(self, opened: IO[bytes], size: int) -> None:
        self.size = size
        self._opened = opened

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        return self._opened.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        return self._opened.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._opened.tell()

    def seekable(self) -> bool:
        """Return True."""
        return True


class Part:
    """An entry that is stored as it is, as a source: the bytes of another from `start` on."""

    def __init__(self, source: BinarySource, start: int, size: int) -> None:
        self.size = size
        self._source = source
        self._start = start
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        left = max(0, self.size - self._at)
        self._source.seek(self._start + self._at)
        data = self._source.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence])
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seekable(self) -> bool:
        """Return True."""
        return True
