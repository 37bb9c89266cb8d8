"""Check JSON: an array of objects record by record, anything else as one document; a stream either way.

The array is cut into its elements by counting brackets outside strings, and each element is checked like a
line of JSONL, so one bad record does not hide the next. Where the cut itself is impossible (a bracket or a
quote is missing), the exact place is reported, and that the rest was not checked. `row` is the element,
from 1; `column` the character in the line of the file.
"""

import re
from collections.abc import Iterator

from ingot.server.core.params import FileReport
from ingot.server.formats import json_scanner, lines, records
from ingot.server.formats.json_records import JsonRecords
from ingot.server.formats.json_scanner import JsonError, JsonScanner
from ingot.server.formats.records import Defect
from ingot.server.formats.seam import Inspection
from ingot.server.formats.statistics import Statistics

NAME = "json"
_READ_BYTES = 512 * 1024
_MAX_RECORD = lines.MAX_LINE_BYTES
_BATCH = 2000  # records
_SPACE = re.compile(rb"[ \t\r\n]*")
# A string, a bracket; a quote alone is a string that does not end here.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}"]', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]\}\[\{ \t\r\n]+")


def check(inspection: Inspection) -> FileReport:
    """Check a file: as an array of records when it begins with `[` and `{`, else as a document."""
    source = inspection.source
    begin = lines.skip_mark(source, inspection.findings)
    if begin is None:
        return _report(inspection, {})
    head = source.read(64 * 1024)
    source.seek(begin)
    first = _SPACE.sub(b"", head, count=1)
    if first[:1] == b"[" and _SPACE.sub(b"", first[1:], count=1)[:1] == b"{":
        return _Array(inspection, begin).run()
    return _document(inspection, begin)
