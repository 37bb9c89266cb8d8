"""Check HDF5 files, among them models of Keras: structure, links to other files, layers that are code.

h5py reads them, in a process of its own (`hdf5_walk.py`), which gets the pieces it asks for from here: a file
that crashes the HDF5 library, or keeps it busy, is a damaged file and nothing more. Values are not read.
"""

import json
import subprocess
import sys
from typing import IO

from ingot.server.core.params import FileReport
from ingot.server.formats.cursor import exact_size, report_unsafe
from ingot.server.formats.hdf5_pieces import END, PIECE_MOST
from ingot.server.formats.seam import Family, Format, Head, Inspection

NAME = "h5"
MAGIC = b"\x89HDF\r\n\x1a\n"
_ANSWER_MOST = 4 * 1024 * 1024


def check(inspection: Inspection) -> FileReport:
    """Check what a file holds; its values are not looked at."""
    statistics = walk(inspection, exact_size(inspection))
    inspection.progress(inspection.source.size)
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=NAME,
        validator=NAME,
        statistics=statistics,
    )


def walk(inspection: Inspection, size: int, base: int = 0, inside: str = "") -> dict[str, object]:
    """Report what is wrong with HDF5 of `size` bytes and return its counts.

    It may be `inside` another file, from the byte `base` on.
    """
    answer = _walk(inspection, size)
    if answer is None:
        message = f"{inside}The HDF5 library breaks on this file: it is damaged, or made to break it."
        inspection.findings.error("damaged", message, byte_offset=base)
        return {}
    document = json.loads(answer)
    for reason, text, offset in document["findings"]:
        if reason == "unsafe_content":
            report_unsafe(inspection, inside + text, base + offset)
        elif reason == "unknown_import":
            inspection.findings.warning(reason, inside + text, byte_offset=base + offset)
        else:
            inspection.findings.error(reason, inside + text, byte_offset=base + offset)
    statistics: dict[str, object] = document["statistics"]
    return statistics


def _walk(inspection: Inspection, size: int) -> bytes | None:
    """Serve the pieces that the process asks for, and return its answer; None when it broke."""
    command = [sys.executable, "-m", "ingot.server.formats.hdf5_walk", str(size)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            if process.stdin is None or process.stdout is None:
                return None
            return _serve(inspection, size, process.stdout, process.stdin)
        except BrokenPipeError:
            return None
        finally:
            process.kill()


def _serve(inspection: Inspection, size: int, questions: IO[bytes], answers: IO[bytes]) -> bytes | None:
    source = inspection.source
    while True:
        question = questions.read(16)
        if len(question) != 16:
            return None
        place, length = int.from_bytes(question[:8], "big"), int.from_bytes(question[8:], "big")
        if place == END:
            answer = questions.read(min(length, _ANSWER_MOST))
            return answer if len(answer) == length else None
        if length > PIECE_MOST:
            return None
        piece = b""
        if place < size:
            source.seek(place)
            piece = source.read(min(length, size - place))
            inspection.progress(place + len(piece))
        answers.write(piece + bytes(length - len(piece)))
        answers.flush()


def _recognises(head: Head) -> bool:
    return head.data.startswith(MAGIC)


FORMATS = (Format(NAME, Family.MODEL, check, (".h5", ".hdf5"), (), _recognises),)
