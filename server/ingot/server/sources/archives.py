"""Unpacking of archives from people we do not trust: tar (plain, gz, bz2, xz, zst where Python can) and zip.

    first bytes → format → entries one after another → `UnpackedTree`, which refuses what is not plain

Links, devices, sparse and encrypted entries are refused, never skipped: an archive is unpacked whole or not
at all. An archive in an archive stays one. Memory stays bounded: headers of tar by `tar_bytes.py`, the
directory of a zip by _DIRECTORY_BYTES, and xz gets _XZ_MEMORY. Every byte that comes out counts against the
ratio, also of headers.
"""

import bz2
import gzip
import importlib
import io
import lzma
import shutil
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ingot.content.texts import shortened
from ingot.server.core.errors import DataLoss, Precondition, Reason
from ingot.server.sources.tar_bytes import END, Readable, TarBytes, headers_of
from ingot.server.sources.unpacked_trees import Room, UnpackedTree

_PIECE = 1024 * 1024
_DIRECTORY_BYTES = 32 * 1024 * 1024
_XZ_MEMORY = 256 * 1024 * 1024
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    NotImplementedError,  # of zipfile, for versions that it does not know
    struct.error,
    OverflowError,
)


def unpack(archive: Path, folder: Path, room: Room, told: Callable[[int], None]) -> list[str]:
    """Unpack an archive into a new folder and return the paths of its files; `told` gets the bytes so far.

    A folder that an earlier attempt left is removed first. Raises Invalid (BAD_PATH); Precondition
    (UNSAFE_CONTENT, TOO_LARGE, FORMAT_NOT_ALLOWED); DataLoss (SOURCE_MISMATCH) when it is broken, cut off
    or holds no file; Exhausted (DISK_LOW).
    """
    if folder.exists():
        shutil.rmtree(folder)
    tree = UnpackedTree(archive, folder, room, told)
    with _told(archive), archive.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unzip(archive, tree)
        else:
            _untar(archive, _plain_tar(archive, file, start), tree)
    if not tree.paths:
        raise _empty(archive)
    return tree.paths


# --- tar ----------------------------------------------------------------------------------------------------


def _untar(archive: Path, source: Readable, tree: UnpackedTree) -> None:
    taken = TarBytes(source, tree)
    taken.begin_member()
    with tarfile.TarFile(fileobj=taken, tarinfo=headers_of(taken), errorlevel=2) as tar:
        while (member := tar.next()) is not None:
            if member.isdir():
                tree.folder(member.name)
            elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
                if member.size < 0:
                    raise tarfile.HeaderError("a file has a negative size")
                content = tar.extractfile(member)
                assert content is not None
                taken.begin_content()
                tree.file(member.name, member.size, _pieces(content, member.size))
            else:
                raise _unsafe(archive, member.name, _KINDS.get(member.type, "special file"))
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps all of them
            taken.begin_member()
    taken.begin_content()
    rest = 0
    while data := taken.read(_PIECE):  # so that the checksum at the end is looked at
        rest += len(data)
        tree.expect(rest)
    if taken.tail != END:
        raise EOFError("it does not end as a tar does: it is cut off, or something else follows")


_KINDS = {
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
    tarfile.GNUTYPE_SPARSE: "sparse file",
}


def _plain_tar(archive: Path, file: BinaryIO, start: bytes) -> Readable:
    """Return the bytes of the tar behind whatever it is packed with."""
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file, "rb")
    if start.startswith(b"\xfd7zXZ\x00"):
        return _Xz(file)
    if start.startswith(b"\x28\xb5\x2f\xfd") and sys.version_info >= (3, 14):
        zstd: Readable = importlib.import_module("compression.zstd").ZstdFile(file, "rb")
        return zstd
    if start[257:262] == b"ustar" or (start[148:156].strip(b" \0").isdigit() and len(start) == 512):
        return file
    kinds = "tar, tar.gz, tar.bz2, tar.xz" + (", tar.zst" if sys.version_info >= (3, 14) else "")
    raise Precondition(
        Reason.FORMAT_NOT_ALLOWED,
        f"{archive.name} is no archive that can be unpacked: expected {kinds} or zip.",
        next_step="Fetch it as it is, without unpack, or give another archive.",
        facts={"archive": archive.name},
    )


class _Xz(io.RawIOBase):
    """Unpacks xz with a limit of memory, which lzma.LZMAFile does not have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int = -1, /) -> bytes:
        while True:
            if self._unpacker.eof:
                data = self._unpacker.unused_data or self._file.read(_PIECE)
                data = data.lstrip(b"\0")  # padding between streams
                if not data:
                    return b""
                self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            else:
                data = self._file.read(64 * 1024) if self._unpacker.needs_input else b""
                if not data and self._unpacker.needs_input:
                    raise EOFError("it is cut off")
            if unpacked := self._unpacker.decompress(data, size):
                return unpacked


# --- zip ----------------------------------------------------------------------------------------------------


class _SmallReads(io.FileIO):
    """A file of which nobody reads too much at once: the directory of a zip is read in one go."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its directory claims {size} bytes")
        return super().read(size) or b""


def _unzip(archive: Path, tree: UnpackedTree) -> None:
    with _SmallReads(archive) as file, zipfile.ZipFile(file) as packed:
        infos, size = packed.infolist(), archive.stat().st_size
        tree.expect(sum(info.file_size for info in infos))
        for info in infos:
            name = info.orig_filename
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not 0 <= info.header_offset < size:
                raise zipfile.BadZipFile(f"{shortened(name)!r} should begin at {info.header_offset}")
            if info.flag_bits & 0x41:
                raise _unsafe(archive, name, "encrypted file")
            if kind and not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                raise _unsafe(archive, name, "link, device or pipe")
            if info.compress_type not in _ZIP_METHODS:
                raise zipfile.BadZipFile(f"{shortened(name)!r} is packed with method {info.compress_type}")
            if name.endswith("/"):
                tree.folder(name)
                continue
            with packed.open(info) as content:
                tree.file(name, info.file_size, _pieces(content, info.file_size))


# --- both ---------------------------------------------------------------------------------------------------


def _pieces(content: Readable, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file to its end. Raises EOFError when there are not `size` of them."""
    count = 0
    while data := content.read(_PIECE):
        count += len(data)
        yield data
    if count != size:
        raise EOFError(f"a file has {count} bytes instead of {size}")


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    """Turn what the libraries raise for broken archives into one error."""
    try:
        yield
    except _BROKEN as error:
        raise _broken(archive, error) from error
    except OSError as error:
        if error.errno is not None:  # bz2 has no error of its own
            raise
        raise _broken(archive, error) from error


def _broken(archive: Path, error: Exception) -> DataLoss:
    return DataLoss(
        Reason.SOURCE_MISMATCH,
        f"The archive {archive.name} cannot be unpacked: {str(error) or type(error).__name__}.",
        next_step="Check that it is complete; a checksum tells.",
        facts={"archive": archive.name},
    )


def _empty(archive: Path) -> DataLoss:
    return DataLoss(
        Reason.SOURCE_MISMATCH,
        f"The archive {archive.name} holds no file, so there is nothing to import.",
        next_step="Check that it is the archive that was meant.",
        facts={"archive": archive.name},
    )


def _unsafe(archive: Path, name: str, kind: str) -> Precondition:
    name = shortened(name)
    return Precondition(
        Reason.UNSAFE_CONTENT,
        f"The archive {archive.name} holds {name!r}, a {kind}; only plain files and folders are unpacked.",
        next_step="Pack it without, or fetch the archive as it is, without unpack.",
        facts={"archive": archive.name, "path": name},
    )
