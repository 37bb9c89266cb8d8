"""Arrays of numpy, alone (.npy) or several in a zip (.npz): checked without numpy, never loaded.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. An array of objects is a
pickle behind the header, and is scanned as one; any other is raw numbers, of which there must be as many as
the header says.
"""

import ast
import math
import re
import zipfile

from ingot.server.core.params import FileReport
from ingot.server.formats import zip_entries as zips
from ingot.server.formats.pickle_pieces import Damaged, Pieces, Window
from ingot.server.formats.pickle_scan import Scan
from ingot.server.formats.seam import BinarySource, Family, Format, Head, Inspection

_MAGIC = b"\x93NUMPY"
_MOST_HEADER = 64 * 1024  # numpy itself refuses more than 10,000 unless told otherwise
_OBJECT = re.compile(r"[<>|=]?O\d*")
_NUMBERS = re.compile(r"[<>|=]?[biufcSUV](\d+)")


def check_array(inspection: Inspection) -> FileReport:
    """Check one array."""
    source, scan = inspection.source, _scan(inspection)
    try:
        _array(Window(source, 0, source.size), source.size, scan, 0, "")
    except Damaged as damage:
        scan.damaged(damage, 0)
    inspection.progress(source.size)
    return _report(inspection, scan, "npy")


def check_arrays(inspection: Inspection) -> FileReport:
    """Check every entry of a zip of arrays."""
    source, scan, seen = inspection.source, _scan(inspection), zips.Seen()
    try:
        with zips.archive(source) as archive:
            for entry in archive.infolist():
                try:
                    _entry(source, archive, entry, seen, scan)
                except Damaged as damage:
                    scan.damaged(damage, entry.header_offset)
            seen.finish(archive)
    except Damaged as damage:
        scan.damaged(damage, 0)
    except zips.BROKEN as failure:
        scan.damaged(Damaged(f"The zip cannot be read: {failure}", "zip_damaged"), 0)
    inspection.progress(source.size)
    return _report(inspection, scan, "npz")


def _entry(
    source: BinarySource, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, seen: zips.Seen, scan: Scan
) -> None:
    start = zips.check_entry(source, entry, seen)
    inside = f"{entry.filename[:100]}: "
    if entry.compress_type == zipfile.ZIP_STORED:
        _array(Window(source, start, start + entry.file_size), entry.file_size, scan, start, inside)
        return
    with archive.open(entry) as opened:  # offsets are then places in the entry
        _array(Window(zips.Opened(opened, entry.file_size)), entry.file_size, scan, 0, inside)


def _array(pieces: Pieces, size: int, scan: Scan, base: int, inside: str) -> None:
    """Check an array of `size` bytes, its header included. Raises Damaged."""
    wrong = f"{inside}It does not begin like an array of numpy."
    if size < len(_MAGIC) + 4 or pieces.take(len(_MAGIC)) != _MAGIC:
        raise Damaged(wrong, "invalid_header")
    major = pieces.take(2)[0]
    if major not in (1, 2, 3):
        raise Damaged(f"{inside}Its format is {major}; expected 1, 2 or 3.", "invalid_header")
    length = int.from_bytes(pieces.take(2 if major == 1 else 4), "little")
    if length > _MOST_HEADER:
        raise Damaged(f"{inside}Its header has {length} bytes; at most {_MOST_HEADER}.", "invalid_header")
    kinds, shape = _header(pieces.take(length), inside)
    if any(_OBJECT.fullmatch(kind) for kind in kinds):
        scan.strictly(pieces, base, inside)
        return
    rest = size - pieces.place
    item = sum(
        int(found[1]) * (4 if "U" in kind else 1) for kind in kinds if (found := _NUMBERS.fullmatch(kind))
    )
    if len(kinds) == 1 and item and rest != item * math.prod(shape):
        message = f"{inside}Behind the header come {rest} bytes; expected {item * math.prod(shape)}."
        raise Damaged(message, "wrong_size")


def _header(text: bytes, inside: str) -> tuple[list[str], list[int]]:
    """Return the types that an array's items are made of, and its shape. Raises Damaged."""
    try:
        found: object = ast.literal_eval(text.decode("utf-8").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as failure:
        raise Damaged(f"{inside}Its header cannot be read: {failure}", "invalid_header") from failure
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise Damaged(f"{inside}Its header names other things than an array's.", "invalid_header")
    shape = found["shape"]
    if not isinstance(shape, tuple) or not all(type(each) is int and 0 <= each < 1 << 60 for each in shape):
        raise Damaged(f"{inside}Its header has no shape.", "invalid_header")
    return list(_kinds(found["descr"], inside)), list(shape)


def _kinds(described: object, inside: str) -> list[str]:
    """Return the simple types in a description: a text, or a list of named fields. Raises Damaged."""
    if isinstance(described, str):
        return [described]
    if isinstance(described, list):
        fields = [each[1] for each in described if isinstance(each, tuple) and len(each) >= 2]
        if len(fields) == len(described):
            return [kind for each in fields for kind in _kinds(each, inside)]
    if isinstance(described, tuple) and len(described) == 2:  # with the shape of an item
        return _kinds(described[0], inside)
    raise Damaged(f"{inside}Its header does not say what the items are.", "invalid_header")


def _scan(inspection: Inspection) -> Scan:
    return Scan(inspection.findings, inspection.rules, inspection.progress)


def _report(inspection: Inspection, scan: Scan, name: str) -> FileReport:
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=name,
        validator="numpy",
        statistics=scan.statistics(),
    )


def _is_array(head: Head) -> bool:
    return head.data.startswith(_MAGIC)


FORMATS = (
    Format("npy", Family.MODEL, check_array, (".npy",), (), _is_array),
    Format("npz", Family.MODEL, check_arrays, (".npz",)),
)
