"""What PyTorch saves: a zip with pickles and raw storages, or in older files pickles in a row; never loaded.

PyTorch's own reader is less strict than `zipfile`, so whatever the two may see differently is an error: names
twice, an entry that says one thing in the directory and another where it begins, flags of encryption. Every
entry is looked at, whatever its name; those that are no pickle by name only for code. A legacy file is five
pickles and then raw storages. Files of before 0.1.10 are tar archives, in which pickles and storages take
turns with nothing to tell them apart: they are not checked, and do not pass.
"""

import struct
import tarfile
import zipfile
import zlib

from ingot.server.core.params import FileReport
from ingot.server.formats import model_pickle, torch_tensors
from ingot.server.formats import zip_entries as zips
from ingot.server.formats.pickle_pieces import Damaged, Window
from ingot.server.formats.pickle_scan import Scan
from ingot.server.formats.seam import HEAD_BYTES, BinarySource, Family, Format, Head, Inspection

NAME = "pytorch"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number of torch.save as a pickle
_LEGACY_PICKLES = 5
_BROKEN = (Damaged, *zips.BROKEN)


def check(inspection: Inspection) -> FileReport:
    """Scan a file of PyTorch."""
    source = inspection.source
    scan = Scan(inspection.findings, inspection.rules, inspection.progress)
    head = source.read(HEAD_BYTES)
    entries: int | None = None
    told: dict[str, object] = {}
    if head.startswith(zips.MAGIC):
        entries = _check_zip(source, scan)
        told = _tensors(inspection)
    elif head.startswith(_LEGACY):
        scan.strictly(Window(source, 0, source.size), most=_LEGACY_PICKLES)
    elif model_pickle.is_pickle(Head(head, source.size)):
        scan.strictly(Window(source, 0, source.size))
    elif _is_tar(head):
        message = "It is a tar archive, as PyTorch wrote before 0.1.10; load it and save it again."
        scan.damaged(Damaged(message, "rest_unchecked"), 0)
    else:
        if not inspection.path.lower().endswith(".bin"):  # which others name raw weights, too
            message = "It is none of the forms that torch.save writes; only looked through for code."
            inspection.findings.warning("unknown_form", message, byte_offset=0)
        scan.quietly(Window(source, 0, source.size))
    inspection.progress(source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=source.size,
        format=NAME,
        validator=NAME,
        statistics={**scan.statistics(), "entries": entries, **told},
    )


def _tensors(inspection: Inspection) -> dict[str, object]:
    """Return what the tensors of a zip are, nothing when that cannot be told: a finding has said why."""
    try:
        found = torch_tensors.read(inspection.source, lambda: inspection.progress(inspection.source.size))
    except (torch_tensors.Unreadable, *_BROKEN):
        return {}
    return torch_tensors.statistics(found)


def is_torch(head: Head) -> bool:
    """Return whether a file begins like one of torch.save."""
    zipped = head.data.startswith(zips.MAGIC) and b"/data.pkl" in head.data
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
        with zips.archive(source) as archive:
            seen = zips.Seen()
            for entry in archive.infolist():
                place = entry.header_offset
                try:
                    _check_entry(source, archive, entry, seen, scan)
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
            seen.finish(archive)
            return len(seen.names)
    except Damaged as damage:
        scan.damaged(damage, 0)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as failure:
        scan.damaged(Damaged(f"The zip cannot be read: {failure}", "zip_damaged"), 0)
    return None


def _check_entry(
    source: BinarySource, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, seen: zips.Seen, scan: Scan
) -> None:
    start = zips.check_entry(source, entry, seen)
    name = entry.filename
    named = name.lower().endswith((".pkl", ".pickle"))
    inside = f"{name[:100]}: "
    if entry.compress_type == zipfile.ZIP_STORED:
        window = Window(source, start, start + entry.file_size)
        if named:
            scan.strictly(window, start, inside)
        else:
            scan.quietly(window, start, inside)
        return
    with archive.open(entry) as opened:  # offsets are then places in the entry
        content = Window(zips.Opened(opened, entry.file_size))
        if named:
            scan.strictly(content, 0, inside)
        else:
            scan.quietly(content, 0, inside)


FORMATS = (Format(NAME, Family.MODEL, check, (".pt", ".pth", ".ckpt", ".bin"), (), is_torch),)
