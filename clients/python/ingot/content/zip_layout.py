"""Where the storages of a PyTorch file lie: the members of its zip that hold tensors, as its directory tells.

`torch.save` writes a zip whose members are stored as they are: ``<name>/data.pkl`` says which tensors there
are, ``<name>/data/0``, ``<name>/data/1`` … hold storages: the bytes of one tensor, or of many. The directory
stands at the end of the file, so only a file on disk can be understood, not a stream. Other zips have no
layout: what their members hold may be anything.
"""

import io
import os
import re
import struct
import zipfile
from collections.abc import Iterator

from ingot.content.flow import Odd

MAGIC = b"PK\x03\x04"
MOST_DIRECTORY = 16 * 1024 * 1024  # bytes
_END = struct.Struct("<4s4H2LH")  # of the directory
_END_MAGIC, _WIDE_END_MAGIC = b"PK\x05\x06", b"PK\x06\x06"
END_REACH = _END.size + 0xFFFF  # bytes at the end of a file in which the end of its directory stands
_LOCAL = struct.Struct("<4s22x2H")
_TENSOR = re.compile(r"([^/]+)/data/\d+")


def directory_bytes(tail: bytes) -> int:
    """Return the size of the directory, from the last END_REACH bytes of a file. Raises Odd without one."""
    at = tail.rfind(_END_MAGIC)
    if at < 0 or len(tail) - at < _END.size:
        raise Odd("no directory at the end")
    size: int = _END.unpack_from(tail, at)[5]
    wide = tail.rfind(_WIDE_END_MAGIC, 0, at)
    if wide >= 0 and at - wide >= 48:
        size = max(size if size != 0xFFFFFFFF else 0, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    return size


def read(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Return the storages of an open file of `size` bytes, from start to end and in order.

    The file's position moves. Raises Odd.
    """
    reach = min(size, END_REACH)
    if directory_bytes(os.pread(descriptor, reach, size - reach)) > MOST_DIRECTORY:
        raise Odd("too large a directory")
    try:
        with zipfile.ZipFile(io.BufferedReader(io.FileIO(descriptor, closefd=False))) as archive:
            return list(_in_order(sorted(_members(archive, descriptor)), size))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as failure:
        raise Odd(str(failure)) from failure


def _members(archive: zipfile.ZipFile, descriptor: int) -> Iterator[tuple[int, int]]:
    names = set(archive.namelist())
    for member in archive.infolist():
        tensor = _TENSOR.fullmatch(member.filename)
        if tensor is None or f"{tensor[1]}/data.pkl" not in names:
            continue
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            continue
        magic, name_size, extra_size = _LOCAL.unpack(os.pread(descriptor, _LOCAL.size, member.header_offset))
        if magic != MAGIC:
            raise Odd("a member is not where the directory says")
        start = member.header_offset + _LOCAL.size + name_size + extra_size
        yield start, start + member.file_size


def _in_order(spans: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    done = 0
    for start, end in spans:
        if start < done or end > size:
            raise Odd("members overlap, or lie outside the file")
        done = end
        yield start, end
