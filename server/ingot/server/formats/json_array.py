"""Check JSON: an array of objects record by record, anything else as one document; a stream either way.

The array is cut into its elements by counting brackets outside strings, and each element is checked like a
line of JSONL, so one bad record does not hide the next. Where the cut itself is impossible (a bracket or a
quote is missing), the exact place is reported, and that the rest was not checked. `row` is the element, from
1; `column` the character in the line of the file.
"""

import re
from dataclasses import replace
from enum import Enum, auto

from ingot.server.core.params import FileReport
from ingot.server.formats import lines, records
from ingot.server.formats.json_document import check_document
from ingot.server.formats.json_records import JsonRecords, broken
from ingot.server.formats.records import Defect, LinePlace
from ingot.server.formats.seam import Inspection
from ingot.server.formats.statistics import Statistics

NAME = "json"
_READ_BYTES = 512 * 1024
_BATCH = 5000  # records that are checked at once
_MAX_RECORD = lines.MAX_LINE_BYTES
_SPACE = re.compile(rb"[ \t\r\n]*+")
_BETWEEN = re.compile(rb"[ \t\r\n]*+(?:,[ \t\r\n]*+)?")
# A string, or a bracket; a quote alone is a string that does not end here.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}"]', re.DOTALL)
# An object with at most three more levels of brackets inside, a comma behind it: most elements are that.
_INSIDE = rb'[^{}\[\]"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_LEVEL = rb"[{\[](?:" + _INSIDE + rb")*+[}\]]"
for _ in range(3):
    _LEVEL = rb"[{\[](?:" + _INSIDE + rb"|" + _LEVEL + rb")*+[}\]]"
_USUAL = re.compile(rb"(\{(?:" + _INSIDE + rb"|" + _LEVEL + rb")*+\})[ \t\r\n]*+,[ \t\r\n]*+", re.DOTALL)
_SCALAR = re.compile(rb"[^,\[\]{}\" \t\r\n]++")
# What is wrong with a record though the JSON is right.
_WELL_FORMED = {"missing_column", "not_object", "text_too_short", "text_too_long", "duplicate_key"}


def check(inspection: Inspection) -> FileReport:
    """Check a file: as an array of records when it begins with `[` and `{`, else as a document."""
    source = inspection.source
    begin = lines.skip_mark(source, inspection.findings)
    if begin is None:
        return json_report(inspection, {})
    head = source.read(_READ_BYTES)
    source.seek(begin)
    if is_array_of_objects(head):
        return _Array(inspection, begin).run()
    return check_document(inspection, begin)


def is_array_of_objects(head: bytes) -> bool:
    """Return whether text that begins like this is an array of objects."""
    head = head.lstrip(b" \t\r\n")
    return head[:1] == b"[" and head[1:].lstrip(b" \t\r\n")[:1] == b"{"


class _Want(Enum):
    BEGIN = auto()  # the opening bracket
    FIRST = auto()  # an element or the closing bracket
    ELEMENT = auto()  # an element, after a comma
    SEPARATOR = auto()  # a comma or the closing bracket
    END = auto()  # nothing but space


class _Array:
    """Reads block by block; `_cut` takes what whole elements there are, `_check` looks at them."""

    def __init__(self, inspection: Inspection, begin: int) -> None:
        self._to = inspection
        self._statistics = Statistics(inspection.source.size, inspection.folder)
        self._records = JsonRecords(inspection.rules, self._statistics)
        self._buffer = b""
        self._base = begin  # offset of the buffer in the file
        self._at = 0  # how far the buffer is cut
        self._want = _Want.BEGIN
        self._rows = 0
        self._line = LinePlace()  # at the beginning of the buffer
        self._stopped = False

    def run(self) -> FileReport:
        try:
            if self._to.quarantine is not None:
                self._to.quarantine.write(b"[\n")
            while not self._stopped and (block := self._to.source.read(self._read_size())):
                self._forget()
                self._buffer += block
                while spans := self._cut():
                    self._check(spans)
                self._to.progress(self._base + len(self._buffer))
            if not self._stopped:
                self._finish()
            if self._to.quarantine is not None:
                self._to.quarantine.write(b"\n]\n")
            self._records.remarks(self._to.findings)
            own = {"layout": "records", **self._records.shapes.document()}
            return json_report(self._to, own, self._statistics)
        finally:
            self._statistics.close()

    # --- cutting ----------------------------------------------------------------------------------------

    def _cut(self) -> list[tuple[int, int]]:
        """Return where whole elements are in the buffer, and go behind them."""
        found: list[tuple[int, int]] = []
        while not self._stopped and len(found) < _BATCH:
            if self._want is _Want.ELEMENT and (usual := _USUAL.match(self._buffer, self._at)):
                found.append(usual.span(1))
                self._at = usual.end()
                continue
            self._at = _skip(self._buffer, self._at)
            if self._at == len(self._buffer):
                break
            byte = self._buffer[self._at : self._at + 1]
            if self._want in (_Want.FIRST, _Want.ELEMENT) and byte not in b"],}:":
                end = element_end(self._buffer, self._at)
                if end is None:
                    self._check_long()
                    break
                found.append((self._at, end))
                self._at, self._want = end, _Want.SEPARATOR
            elif not self._structure(byte):
                # The elements before it are told first, so this one is looked at in the next round.
                if found:
                    break
                self._misplaced(byte)
        return found

    def _structure(self, byte: bytes) -> bool:
        """Step over a bracket or comma that is where it should be; return whether it is."""
        after = {
            (_Want.BEGIN, b"["): _Want.FIRST,
            (_Want.FIRST, b"]"): _Want.END,
            (_Want.SEPARATOR, b","): _Want.ELEMENT,
            (_Want.SEPARATOR, b"]"): _Want.END,
        }.get((self._want, byte))
        if after is None:
            return False
        self._want = after
        self._at += 1
        return True

    def _misplaced(self, byte: bytes) -> None:
        """Report a bracket, comma or other byte that cannot stand there, and go on if that makes sense."""
        got = f"got {byte.decode('ascii', 'backslashreplace')}"
        if self._want is _Want.SEPARATOR and byte == b"{":
            self._error(f"Expected a comma, {got}.")
            self._want = _Want.ELEMENT
        elif self._want in (_Want.FIRST, _Want.ELEMENT) and byte == b",":
            self._error(f"Expected a record, {got}.")
            self._at, self._want = self._at + 1, _Want.ELEMENT
        elif self._want is _Want.ELEMENT and byte == b"]":
            self._error("Expected a record after the comma, got ].")
            self._at, self._want = self._at + 1, _Want.END
        elif self._want is _Want.END:
            self._error(f"Something follows the array: {got}; expected the end.")
            self._stop()
        else:
            expected = "a comma or ]" if self._want is _Want.SEPARATOR else "a record"
            self._error(f"Expected {expected}, {got}.")
            self._stop()

    def _check_long(self) -> None:
        """Give up when an element does not end: a bracket or quote is missing, or it is too long."""
        rest = self._buffer[self._at :]
        if len(rest) <= _MAX_RECORD:
            return
        message = f"The record has more than {_MAX_RECORD} bytes."
        defect = broken(0, rest, whole=False) or Defect(0, 0, "record_too_long", message)
        self._check_one(defect, self._at, rest)
        self._stop()

    def _finish(self) -> None:
        """Say what is missing at the end of the file."""
        rest = self._buffer[self._at :]
        if self._want in (_Want.FIRST, _Want.ELEMENT) and rest:
            message = "The text ends too early; expected a comma or the closing bracket."
            self._check_one(broken(0, rest) or Defect(0, len(rest), "json_syntax", message), self._at, rest)
        elif self._want is not _Want.END:
            self._error("The text ends too early; expected a comma or the closing bracket.")

    # --- checking ---------------------------------------------------------------------------------------

    def _check(self, spans: list[tuple[int, int]]) -> None:
        rows = [self._buffer[begin:end] for begin, end in spans]
        self._statistics.add(rows, range(self._rows + 1, self._rows + 1 + len(rows)))
        defects = self._records.check(rows)
        self._statistics.bad_records += len(defects)
        for defect in defects:
            self._tell(defect, spans[defect.index][0], rows[defect.index], self._rows + defect.index + 1)
        self._rows += len(rows)
        if self._to.quarantine is not None:
            self._keep(rows, defects)

    def _check_one(self, defect: Defect, begin: int, raw: bytes) -> None:
        """Count an element that does not end as a bad record."""
        self._rows += 1
        self._statistics.records += 1
        self._statistics.bad_records += 1
        self._tell(defect, begin, raw, self._rows)

    def _tell(self, defect: Defect, begin: int, raw: bytes, row: int) -> None:
        place = begin + defect.at
        column = self._line.column(self._buffer[:place])
        records.report(
            self._to.findings,
            replace(defect, column=column),
            raw,
            row,
            self._base + begin,
            self._to.quarantine,
        )
        if defect.reason not in _WELL_FORMED:
            self._to.findings.failed = True  # no reader takes an array with broken JSON in it

    def _keep(self, rows: list[bytes], defects: list[Defect]) -> None:
        bad = {each.index for each in defects}
        good = [each for index, each in enumerate(rows) if index not in bad]
        if good and self._to.quarantine is not None:
            begin = b",\n" if self._to.quarantine.good_records else b""
            self._to.quarantine.good(begin + b",\n".join(good), len(good))

    def _error(self, message: str) -> None:
        self._to.findings.error(
            "json_syntax",
            message,
            row=self._rows + 1 if self._want is not _Want.END else None,
            byte_offset=self._base + self._at,
            column=self._line.column(self._buffer[: self._at]),
        )

    def _stop(self) -> None:
        self._stopped = True
        self._to.findings.warning(
            "rest_unchecked",
            "What follows could not be told apart as records and was not checked.",
            byte_offset=self._base + self._at,
        )

    # --- the buffer -------------------------------------------------------------------------------------

    def _read_size(self) -> int:
        return max(_READ_BYTES, len(self._buffer) - self._at)  # doubled for a long element

    def _forget(self) -> None:
        """Drop what is cut from the buffer."""
        self._line.advance(self._buffer[: self._at])
        self._base += self._at
        self._buffer = self._buffer[self._at :]
        self._at = 0


def _skip(data: bytes, at: int) -> int:
    found = _SPACE.match(data, at)
    return found.end() if found else at


def between(data: bytes, at: int) -> int | None:
    """Return where the next element begins, behind a comma and space; None when none does in `data`."""
    found = _BETWEEN.match(data, at)
    begin = found.end() if found else at
    return begin if begin < len(data) and data[begin] not in b"]" else None


def element_end(data: bytes, at: int) -> int | None:
    """Return where the element that begins at `at` ends; None when it does not end in `data`."""
    if data[at] not in b'{["':
        scalar = _SCALAR.match(data, at)
        return scalar.end() if scalar and scalar.end() < len(data) else None
    depth = 0
    for token in _TOKEN.finditer(data, at):
        text = token.group()
        if text == b'"':
            return None
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
        if depth == 0:
            return token.end()
    return None


def json_report(
    inspection: Inspection, own: dict[str, object], statistics: Statistics | None = None
) -> FileReport:
    """Return the report of a JSON file; without statistics it has no records."""
    report = FileReport(
        path=inspection.path, size_bytes=inspection.source.size, format=NAME, validator=NAME, statistics=own
    )
    if statistics is None:
        return report
    counted = statistics.finish(inspection.findings)
    return report.model_copy(
        update={
            "records": statistics.records,
            "bad_records": statistics.bad_records,
            "duplicates": statistics.duplicates,
            "statistics": {**own, **counted},
        }
    )
