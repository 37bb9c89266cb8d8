"""Pickle and joblib files: scanned, never loaded.

joblib packs whole files; what is packed is looked through, and offsets are then places in the unpacked
content. Packed with lz4 nothing can be said, so such a file does not pass.
"""

import pickletools
import re

from ingot.server.core.params import FileReport
from ingot.server.formats import pickle_pieces
from ingot.server.formats.gzipped import GzipSource
from ingot.server.formats.pickle_pieces import Damaged, Unpacked, Window
from ingot.server.formats.pickle_scan import Scan
from ingot.server.formats.seam import HEAD_BYTES, Family, Format, Head, Inspection

_BINARY = re.compile(rb"\x80[\2-\5]")
_CODES = frozenset(each.code.encode("latin-1") for each in pickletools.opcodes)
_PLACE = "Unpacked: "


def check_pickle(inspection: Inspection) -> FileReport:
    """Scan a pickle, or several in a row."""
    return _check(inspection, "pickle")


def check_joblib(inspection: Inspection) -> FileReport:
    """Scan a joblib file, packed or not."""
    return _check(inspection, "joblib")


def is_pickle(head: Head) -> bool:
    """Return whether a file begins like a pickle of protocol 2 or later."""
    return _BINARY.match(head.data) is not None and head.data[2:3] in _CODES


def _check(inspection: Inspection, name: str) -> FileReport:
    source = inspection.source
    scan = Scan(inspection.findings, inspection.rules, inspection.progress)
    head = source.read(HEAD_BYTES)
    source.seek(0)
    kind = None if is_pickle(Head(head, source.size)) else pickle_pieces.packed_with(head)
    if kind == "lz4":
        scan.damaged(
            Damaged("What is packed with lz4 cannot be checked; use zlib or xz.", "rest_unchecked"), 0
        )
    elif kind is not None:
        if starts := scan.strictly(Unpacked(source, kind), 0, _PLACE, arrays=True):
            scan.quietly(Unpacked(source, kind), 0, _PLACE, starts)
    elif head:
        end = None if isinstance(source, GzipSource) else source.size  # whose size is a guess
        if starts := scan.strictly(Window(source, 0, end), arrays=True):
            scan.quietly(Window(source, 0, end), starts=starts)
    inspection.progress(source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=source.size,
        format=name,
        validator=name,
        statistics={**scan.statistics(), "packed": kind},
    )


_PACKED = ("", ".bz2", ".xz", ".lzma", ".z", ".lz4")  # by which pandas and joblib load; gzip is seen through


def _named(*endings: str) -> tuple[str, ...]:
    return tuple(f"{ending}{packed}" for ending in endings for packed in _PACKED)


FORMATS = (
    Format("pickle", Family.MODEL, check_pickle, _named(".pkl", ".pickle"), (), is_pickle),
    Format("joblib", Family.MODEL, check_joblib, _named(".joblib"), (), is_pickle),
)
