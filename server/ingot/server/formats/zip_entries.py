"""Zip archives that hold a model: bounded, and refused where two readers may see different things.

PyTorch and Keras read zips less strictly than `zipfile`, so names twice, an entry that says one thing in the
directory and another where it begins, and flags of encryption are errors. So is every byte that belongs to
nothing: from the first to the last an archive is entries one after the other, the directory, and its end, or
two readers might find two directories.
"""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import IO

from ingot.server.formats.pickle_pieces import Damaged
from ingot.server.formats.seam import BinarySource, Positioned

MAGIC = b"PK\x03\x04"
# What Python raises for zip files that are cut off, damaged or in a form that it does not know.
BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
)
_DIRECTORY_BYTES = 16 * 1024 * 1024
_END = struct.Struct("<4s4H2LH")  # of the directory
_END_REACH = _END.size + 0xFFFF
_WIDE_PLACE = struct.Struct("<4sLQL")  # of the zip64 record, right before _END
_WIDE_END = struct.Struct("<4sQ2H2L4Q")
_DESCRIPTOR_BYTES = 24  # the longest that may follow an entry
_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_RATIO = 250
_RATIO_FROM = 64 * 1024 * 1024
_ENCRYPTED = 1


def archive(source: BinarySource) -> zipfile.ZipFile:
    """Open a zip. Raises Damaged, and what `zipfile` raises."""
    _check_directory(source)
    source.seek(0)
    return zipfile.ZipFile(io.BufferedReader(_Raw(source)))


@dataclass(slots=True)
class Seen:
    """The entries of an archive so far: their names, and what they take of the file."""

    names: set[str] = field(default_factory=set)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def finish(self, archive: zipfile.ZipFile) -> None:
        """Refuse entries that overlap, and bytes between them. Raises Damaged."""
        if len(self.spans) < len(archive.filelist):
            return  # one was refused already
        end = 0
        for begin, stop in [*sorted(self.spans), (archive.start_dir, archive.start_dir)]:
            if begin < end or begin - end > (_DESCRIPTOR_BYTES if end else 0):
                raise Damaged(
                    f"Between the bytes {end} and {begin} the zip has what is no entry, or one twice.",
                    "zip_damaged",
                )
            end = stop


def _check_directory(source: BinarySource) -> None:
    """Refuse a directory that is not where its end says, or would not fit into memory. Raises Damaged."""
    reach = min(source.size, _END_REACH)
    source.seek(source.size - reach)
    tail = source.read(reach)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise Damaged("The zip has no directory at its end; it may be cut.", "zip_damaged")
    size: int
    offset: int
    _, disk, first_disk, _, _, size, offset, comment = _END.unpack_from(tail, at)
    end = source.size - reach + at
    if disk or first_disk or len(tail) - at - _END.size != comment:
        raise Damaged("Behind the end of the zip's directory come more bytes.", "zip_damaged")
    if tail[max(0, at - _WIDE_PLACE.size) : at].startswith(b"PK\x06\x07"):
        end, size, offset = _wide(source, end, size, offset)
    if size > _DIRECTORY_BYTES:
        raise Damaged(
            f"The directory of the zip has {size} bytes; at most {_DIRECTORY_BYTES}.", "zip_damaged"
        )
    if offset + size != end:
        raise Damaged("The directory of the zip is not where its end says.", "zip_damaged")


def _wide(source: BinarySource, end: int, size: int, offset: int) -> tuple[int, int, int]:
    """Return where the zip64 record begins, and size and place of the directory. Raises Damaged."""
    source.seek(end - _WIDE_PLACE.size)
    place: int = _WIDE_PLACE.unpack(source.read(_WIDE_PLACE.size))[2]
    source.seek(place)
    record = source.read(_WIDE_END.size)
    if not record.startswith(b"PK\x06\x06") or place + _WIDE_END.size != end - _WIDE_PLACE.size:
        raise Damaged("The zip64 record is not right before the end of the zip's directory.", "zip_damaged")
    wide_size: int
    wide_offset: int
    *_, wide_size, wide_offset = _WIDE_END.unpack(record)
    for short, wide in ((size, wide_size), (offset, wide_offset)):
        if short not in (0xFFFFFFFF, wide):
            raise Damaged("The zip says two sizes or places of its directory.", "zip_damaged")
    return place, wide_size, wide_offset


def check_entry(source: BinarySource, entry: zipfile.ZipInfo, seen: Seen) -> int:
    """Return where the bytes of an entry begin, having looked at its headers; `seen` are those before it.

    Raises Damaged.
    """
    name = entry.filename
    shown = repr(name[:100])
    if name in seen.names:
        raise Damaged(f"{shown} is in the zip twice.", "zip_damaged")
    seen.names.add(name)
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name[:2]:
        raise Damaged(f"The zip writes outside its folder: {shown}.", "path_unsafe")
    start = _content_start(source, entry)
    seen.spans.append((entry.header_offset, start + entry.compress_size))
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


class Part(Positioned):
    """An entry that is stored as it is, as a source: the bytes of another from `start` on."""

    def __init__(self, source: BinarySource, start: int, size: int) -> None:
        super().__init__(size)
        self._source = source
        self._start = start

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        left = max(0, self.size - self._position)
        self._source.seek(self._start + self._position)
        data = self._source.read(left if size < 0 else min(size, left))
        self._position += len(data)
        return data
