"""Check a JSON document that is no array of records: its syntax, to the byte, in bounded memory."""

import codecs

from ingot.server.core.params import FileReport
from ingot.server.formats.json_scanner import JsonError, JsonScanner
from ingot.server.formats.records import LinePlace
from ingot.server.formats.seam import Inspection

NAME = "json"
_READ_BYTES = 256 * 1024


def check_document(inspection: Inspection, begin: int) -> FileReport:
    """Check the document that begins at an offset of the file."""
    scanner, line = JsonScanner(), LinePlace()
    defect = _first_defect(inspection, begin, scanner, line)
    if defect is not None:
        where = {"byte_offset": begin + defect.offset, "column": line.column(b"")}
        inspection.findings.error(defect.reason, defect.message, **where)
    elif scanner.twice is not None:
        place, key = scanner.twice
        message = f"The key {key[:100]!r} is there twice in one object; the first value is lost."
        inspection.findings.warning("duplicate_key", message, byte_offset=begin + place)
    return FileReport(
        path=inspection.path,
        size_bytes=inspection.source.size,
        format=NAME,
        validator=NAME,
        statistics={"layout": "document", "values": scanner.values, "depth": scanner.deepest},
    )


def _first_defect(
    inspection: Inspection, begin: int, scanner: JsonScanner, line: LinePlace
) -> JsonError | None:
    """Read until something is wrong; `line` is then at that place."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    while True:
        block = inspection.source.read(_READ_BYTES)
        base = scanner.offset
        held = decoder.getstate()[0]  # bytes of a character that began in the block before
        wrong: JsonError | None = None
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as failure:
            place = base - len(held) + failure.start
            byte = failure.object[failure.start]
            message = f"Byte 0x{byte:02x} is no UTF-8 here ({failure.reason})."
            wrong = JsonError(place, "invalid_utf8", message)
        try:
            scanner.feed(block if wrong is None else block[: max(0, wrong.offset - base)])
            if not block and wrong is None:
                scanner.finish()
        except JsonError as error:
            wrong = error
        known = held + block
        if wrong is not None:
            line.advance(known[: wrong.offset - base + len(held)])
            return wrong
        if not block:
            return None
        line.advance(known[: len(known) - len(decoder.getstate()[0])])
        inspection.progress(begin + scanner.offset)
