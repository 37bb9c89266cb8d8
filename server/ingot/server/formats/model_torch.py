"""What PyTorch saves: a zip with pickles and raw storages, or in older files pickles in a row; never loaded.

PyTorch's own reader is less strict than `zipfile`, so whatever the two may see differently is an error: names
twice, an entry that says one thing in the directory and another where it begins, flags of encryption. Every
entry is looked at, whatever its name; those that are no pickle by name only for code. A legacy file is five
pickles and then raw storages. Files of before 0.1.10 are tar archives, in which pickles and storages take
turns with nothing to tell them apart: they are not checked, and do not pass.
"""

import io
import struct
import tarfile
import zipfile
import zlib
from typing import IO

from ingot.server.core.params import FileReport
from ingot.server.formats import model_pickle
from ingot.server.formats.pickle_pieces import Damaged, Window
from ingot.server.formats.pickle_scan import Scan
from ingot.server.formats.seam import HEAD_BYTES, BinarySource, Family, Format, Head, Inspection

NAME = "pytorch"
_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch.save as a pickle
_LEGACY_PICKLES = 5
_DIRECTORY_BYTES = 16 * 1024 * 1024
_END = struct.Struct("<4s4H2LH")  # of the directory
_END_REACH = _END.size + 0xFFFF
_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_RATIO = 250
_RATIO_FROM = 64 * 1024 * 1024
_ENCRYPTED = 1


def check(inspection: Inspection) -> FileReport:
    """Scan a file of PyTorch."""
    source = inspection.source
    scan = Scan(inspection.findings, inspection.rules, inspection.progress)
    head = source.read(HEAD_BYTES)
    entries: int | None = None
    if head.startswith(_ZIP):
        entries = _check_zip(source, scan)
    elif head.startswith(_LEGACY):
        scan.strictly(Window(source, 0, source.size), most=_LEGACY_PICKLES)
    elif model_pickle.is_pickle(Head(head, source.size)):
        scan.strictly(Window(source, 0, source.size))
    elif _is_tar(head):
        message = "It is a tar archive, as PyTorch wrote before 0.1.10; load it and save it again."
        scan.damaged(Damaged(message, "rest_unchecked"), 0)
    else:  # such as the raw weights that others name .bin
        scan.quietly(Window(source, 0, source.size))
    inspection.progress(source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=source.size,
        format=NAME,
        validator=NAME,
        statistics={**scan.statistics(), "entries": entries},
    )


def is_torch(head: Head) -> bool:
    """Return whether a file begins like one of torch.save."""
    zipped = head.data.startswith(_ZIP) and b"/data.pkl" in head.data
    return zipped or head.data.startswith(_LEGACY)


def _is_tar(head: bytes) -> bool:
    """Return whether PyTorch would take it for a tar archive, of any age: by the checksum of its header."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _check_zip(source: BinarySource, scan: Scan) -> int | None:
    try:
        _check_directory(source)
        source.seek(0)
        with zipfile.ZipFile(io.BufferedReader(_Raw(source))) as archive:
            names: set[str] = set()
            for entry in archive.infolist():
                place = entry.header_offset
                try:
                    _check_entry(source, archive, entry, names, scan)
                except (
                    zipfile.BadZipFile,
                    NotImplementedError,
                    RuntimeError,
                    EOFError,
                    zlib.error,
                ) as failure:
                    scan.damaged(Damaged(f"{entry.filename[:100]!r}: {failure}", "zip_damaged"), place)
                except Damaged as damage:
                    scan.damaged(damage, place)
            return len(names)
    except Damaged as damage:
        scan.damaged(damage, 0)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as failure:
        scan.damaged(Damaged(f"The zip cannot be read: {failure}", "zip_damaged"), 0)
    return None


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


def _check_entry(
    source: BinarySource, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, names: set[str], scan: Scan
) -> None:
    name = entry.filename
    shown = repr(name[:100])
    if name in names:
        raise Damaged(f"{shown} is in the zip twice.", "zip_damaged")
    names.add(name)
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name[:2]:
        scan.damaged(
            Damaged(f"The zip writes outside its folder: {shown}.", "path_unsafe"), entry.header_offset
        )
    start = _content_start(source, entry)
    named = name.lower().endswith((".pkl", ".pickle"))
    inside = f"{name[:100]}: "
    if entry.compress_type == zipfile.ZIP_STORED:
        if entry.compress_size != entry.file_size:
            raise Damaged(f"{shown} has two sizes.", "zip_damaged")
        window = Window(source, start, start + entry.file_size)
        if named:
            scan.strictly(window, start, inside)
        else:
            scan.quietly(window, start, inside)
        return
    if entry.file_size > _RATIO_FROM and entry.file_size > _MOST_RATIO * entry.compress_size:
        raise Damaged(f"{shown} unpacks to more than {_MOST_RATIO} times its size.", "zip_bomb")
    with archive.open(entry) as opened:  # offsets are then places in the entry
        content = Window(_Opened(opened, entry.file_size))
        if named:
            scan.strictly(content, 0, inside)
        else:
            scan.quietly(content, 0, inside)


def _content_start(source: BinarySource, entry: zipfile.ZipInfo) -> int:
    """Return where an entry's bytes begin, having compared its two headers. Raises Damaged."""
    source.seek(entry.header_offset)
    header = source.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(_ZIP):
        raise Damaged(f"{entry.filename[:100]!r} is not where the directory says.", "zip_damaged")
    name_size: int
    extra_size: int
    _, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack(header)
    name = source.read(name_size)
    if (flags | entry.flag_bits) & _ENCRYPTED:
        raise Damaged(f"{entry.filename[:100]!r} says it is encrypted; PyTorch would load it.", "zip_damaged")
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


class _Opened:
    """An entry that is unpacked on the way, as a source."""

    def __init__(self, opened: IO[bytes], size: int) -> None:
        self.size = size
        self._opened = opened

    def read(self, size: int = -1, /) -> bytes:
        return self._opened.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._opened.seek(offset, whence)

    def tell(self) -> int:
        return self._opened.tell()

    def seekable(self) -> bool:
        return True


FORMATS = (Format(NAME, Family.MODEL, check, (".pt", ".pth", ".ckpt", ".bin"), (), is_torch),)
