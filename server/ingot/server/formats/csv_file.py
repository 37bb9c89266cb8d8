"""Check CSV: quotes, ragged rows, the header, UTF-8. `row` counts from behind the header, `column` fields.

The first row is the header. The delimiter is the one of `,` `;` tab and `|` by which the first rows have the
same number of fields, and more than one; a .tsv file has tabs.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ingot.server.core.params import FileReport
from ingot.server.formats import lines, records
from ingot.server.formats.csv_rows import QUOTE, QuotedRows, Row, WholeRows
from ingot.server.formats.lines import Batch
from ingot.server.formats.records import Defect
from ingot.server.formats.seam import HEAD_BYTES, Inspection
from ingot.server.formats.statistics import Statistics

NAME = "csv"
DELIMITERS = (b",", b";", b"\t", b"|")
MOST_COLUMNS = 20_000
_SNIFFED = 50  # rows
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(rb"[+-]?[0-9]+")


def check(inspection: Inspection) -> FileReport:
    """Check a file row by row."""
    source = inspection.source
    begin = lines.skip_mark(source, inspection.findings)
    head = source.read(HEAD_BYTES) if begin is not None else b""
    if begin is not None:
        source.seek(begin)
    tabs = inspection.path.lower().endswith((".tsv", ".tab"))
    delimiter = b"\t" if tabs else sniff(head)
    check = _Csv(inspection, delimiter)
    return check.run(readable=begin is not None)


def sniff(head: bytes) -> bytes:
    """Return the delimiter of a file that begins like this; a comma when nothing tells."""
    rows = head.split(b"\n")[: _SNIFFED + 1]
    if len(rows) > 1:
        rows.pop()  # it may be cut
    best, most = DELIMITERS[0], (0.0, 0)
    for delimiter in DELIMITERS:
        cutter = QuotedRows(delimiter)
        widths = [len(row.fields) for each in rows if each.strip() for row in cutter.take(each, 0)]
        if not widths:
            continue
        width, count = Counter(widths).most_common(1)[0]
        score = (count / len(widths), width)
        if width > 1 and score > most:
            best, most = delimiter, score
    return best


class _Csv:
    def __init__(self, inspection: Inspection, delimiter: bytes) -> None:
        self._to = inspection
        self._findings = inspection.findings
        self._delimiter = delimiter
        self._statistics = Statistics(inspection.source.size, inspection.folder)
        self._quoted = QuotedRows(delimiter)
        self._whole = WholeRows(delimiter)
        self._header: list[str] = []
        self._width = 0
        self._rows = 0
        self._empty_lines = 0
        self._returns = 0
        self._lines = 0
        self._empty: list[int] = []  # rows in which a column is empty
        self._kinds: list[Counter[str]] = []  # of the values of a column, in sampled rows
        self._next = 0
        self._nul = False  # one was seen
        self._too_wide = False
        rules = inspection.rules
        self._length_matters = rules.min_text_length is not None or rules.max_text_length is not None

    def run(self, *, readable: bool) -> FileReport:
        """Check the file."""
        try:
            for batch in lines.batches(self._to.source) if readable else ():
                self._take(batch)
                self._to.progress(batch.end)
                if self._too_wide:
                    return self._report()
            self._check(list(self._quoted.finish()), nul=True)
            if not self._width and readable and not self._too_wide:
                self._findings.error("no_header", "There is no header; expected a row with the columns.")
            return self._report()
        finally:
            self._statistics.close()

    # --- cutting ----------------------------------------------------------------------------------------

    def _take(self, batch: Batch) -> None:
        self._lines += len(batch.lines)
        self._returns += batch.returns
        if batch.cut:
            row = Row(batch.offset, batch.lines[0])
            message = f"The line has more than {len(row.raw)} bytes; only its beginning was looked at."
            row.defect = Defect(0, 0, "line_too_long", message, 1)
            self._check([*self._quoted.finish(), row], nul=True)
        elif not self._take_plain(batch):
            self._check(list(self._cut(batch)), nul=batch.nul)

    def _take_plain(self, batch: Batch) -> bool:
        """Take a batch of whole lines without defects all at once; False when it is no such batch."""
        if not self._width or self._quoted.inside or self._length_matters or batch.nul or batch.returns:
            return False
        if b"" in batch.lines:
            return False
        try:
            text = batch.text.decode("utf-8")
        except UnicodeDecodeError:
            return False
        if QUOTE in batch.text:
            cut = self._whole.texts(batch.lines, text)
            lengths = [sum(map(len, each)) for each in cut or ()]
        else:
            rows, delimiter, between = text.split("\n"), self._delimiter.decode(), self._width - 1
            cut = [each.split(delimiter) for each in rows]
            lengths = [len(each) - between for each in rows]
        if cut is None or set(map(len, cut)) != {self._width}:
            return False
        self._statistics.add(batch.lines, range(self._rows + 1, self._rows + 1 + len(cut)))
        self._statistics.lengths.add(lengths)
        for fields in cut:
            if "" in fields:
                self._count_empty(fields)
        while self._next < self._rows + len(cut):
            self._sample([each.encode() for each in cut[self._next - self._rows]])
            self._next += self._statistics.profile.stride
        if self._to.quarantine is not None:
            records.keep_good(self._to.quarantine, batch.lines, ())
        self._rows += len(cut)
        return True

    def _cut(self, batch: Batch) -> Iterator[Row]:
        """Yield the rows that end in a batch."""
        quoted, whole, delimiter, offset = self._quoted, self._whole, self._delimiter, batch.offset
        for line in batch.lines:
            text = line.removesuffix(b"\r")
            if quoted.inside:
                yield from quoted.take(line, offset)
            elif QUOTE in line:
                fields = whole.fields(text)
                if fields is None:
                    yield from quoted.take(line, offset)
                else:
                    yield Row(offset, line, fields)
            elif not text:
                self._empty_lines += 1
            else:
                yield Row(offset, line, text.split(delimiter))
            offset += len(line) + 1

    # --- checking ---------------------------------------------------------------------------------------

    def _check(self, rows: list[Row], *, nul: bool) -> None:
        self._nul = self._nul or nul
        if rows and not self._width:
            self._check_header(rows.pop(0))
        if self._too_wide:
            return
        raws = [each.raw for each in rows]
        self._statistics.add(raws, range(self._rows + 1, self._rows + 1 + len(rows)))
        lengths: list[int] = []
        defects: list[Defect] = []
        for index, row in enumerate(rows):
            wrong = row.defect or self._defect(row)
            length = sum(map(len, row.fields))
            if wrong is None and not row.raw.isascii():  # beside the fields there are bytes of ASCII only
                length += len(row.raw.decode("utf-8")) - len(row.raw)
            if wrong is None:
                lengths.append(length)
                if self._length_matters:
                    wrong = next(iter(records.wrong_length(0, length, self._to.rules)), None)
                if b"" in row.fields:
                    self._count_empty(row.fields)
                if self._rows + index >= self._next:
                    self._next += self._statistics.profile.stride
                    self._sample(row.fields)
            if wrong is not None:
                column = wrong.column or 1
                defects.append(Defect(index, wrong.at, wrong.reason, wrong.message, column))
        self._statistics.lengths.add(lengths)
        self._tell(rows, raws, defects)
        self._rows += len(rows)

    def _tell(self, rows: list[Row], raws: list[bytes], defects: list[Defect]) -> None:
        self._statistics.bad_records += len(defects)
        quarantine = self._to.quarantine
        for defect in defects:
            row = rows[defect.index]
            number = self._rows + defect.index + 1
            records.report(self._findings, defect, row.raw, number, row.offset, quarantine)
        if quarantine is not None:
            records.keep_good(quarantine, raws, defects)

    def _defect(self, row: Row) -> Defect | None:
        if len(row.fields) != self._width:
            got = len(row.fields)
            message = f"The row has {got} fields; expected {self._width}, as the header has."
            at = len(row.raw) if got < self._width else self._starts(row)[self._width]
            return Defect(0, at, "ragged_row", message, min(got, self._width + 1))
        at = row.raw.find(b"\0") if self._nul else -1
        if not row.raw.isascii():
            try:
                row.raw.decode("utf-8")
            except UnicodeDecodeError as failure:
                if at < 0 or failure.start < at:
                    return self._no_text(row, failure)
        if at >= 0:
            return Defect(0, at, "nul", "A NUL byte; expected text.", self._field_at(row, at))
        return None

    def _no_text(self, row: Row, failure: UnicodeDecodeError) -> Defect:
        byte, at = row.raw[failure.start], failure.start
        message = f"Byte 0x{byte:02x} is no UTF-8 here ({failure.reason})."
        return Defect(0, at, "invalid_utf8", message, self._field_at(row, at))

    def _field_at(self, row: Row, at: int) -> int:
        return max(1, sum(1 for each in self._starts(row) if each <= at))

    def _starts(self, row: Row) -> list[int]:
        """Return where each field begins in the bytes of its row."""
        if not row.starts:  # it was cut without asking for places
            cutter = QuotedRows(self._delimiter)
            for again in [*cutter.take(row.raw, 0), *cutter.finish()]:
                row.starts = again.starts
        return row.starts

    def _check_header(self, row: Row) -> None:
        """Take the first row as the names of the columns."""
        if self._to.quarantine is not None:
            self._to.quarantine.write(row.raw + b"\n")
        if len(row.fields) > MOST_COLUMNS:
            message = f"The header has {len(row.fields)} columns; at most {MOST_COLUMNS} can be checked."
            self._findings.error("too_many_columns", message, byte_offset=row.offset)
            self._too_wide = True
            return
        self._width = max(1, len(row.fields))
        self._empty = [0] * self._width
        self._kinds = [Counter() for _ in range(self._width)]
        self._header = [each.decode("utf-8", "replace").strip() for each in row.fields]
        wrong = row.defect
        try:
            row.raw.decode("utf-8")
        except UnicodeDecodeError as failure:
            wrong = wrong or self._no_text(row, failure)
        if wrong is not None:
            place = row.offset + wrong.at
            self._findings.error(wrong.reason, wrong.message, byte_offset=place, column=wrong.column)
        starts = self._starts(row)
        seen: set[str] = set()
        for index, name in enumerate(self._header):
            where = {"byte_offset": row.offset + starts[index], "column": index + 1}
            if not name:
                self._findings.warning("empty_column_name", "The header names no column here.", **where)
            elif name in seen:
                self._findings.error("duplicate_column", f"The header has {name!r} twice.", **where)
            seen.add(name)
        missing = [each for each in self._to.rules.required_columns if each not in self._header]
        if missing:
            got = ", ".join(self._header[:20])
            message = f"The header misses {', '.join(missing)}; it has {got} (required_columns)."
            self._findings.error("missing_column", message, byte_offset=row.offset)

    # --- counting ---------------------------------------------------------------------------------------

    def _count_empty(self, fields: Sequence[bytes | str]) -> None:
        for index, value in enumerate(fields):
            if not value:
                self._empty[index] += 1

    def _sample(self, fields: list[bytes]) -> None:
        for kinds, value in zip(self._kinds, fields, strict=True):
            kinds[_kind(value)] += 1
        self._statistics.profile.add(b"\n".join(fields).decode("utf-8", "replace"))

    def _report(self) -> FileReport:
        if 0 < self._returns < self._lines:
            message = f"{self._returns} of {self._lines} lines end with CR LF, the others with LF."
            self._findings.warning("mixed_line_ends", message)
        whole = self._rows - self._statistics.bad_records
        columns = {
            name: {"present": whole - empty, "empty": empty, "sampled_types": dict(kinds.most_common())}
            for name, empty, kinds in zip(self._header, self._empty, self._kinds, strict=True)
        }
        own: dict[str, object] = {
            "delimiter": self._delimiter.decode(),
            "lines": self._lines,
            "empty_lines": self._empty_lines,
            "columns": columns,
        }
        counted = self._statistics.finish(self._findings)
        return FileReport(
            path=self._to.path,
            size_bytes=self._to.source.size,
            format=NAME,
            validator=NAME,
            records=self._statistics.records,
            bad_records=self._statistics.bad_records,
            duplicates=self._statistics.duplicates,
            statistics={**own, **counted},
        )


def _kind(value: bytes) -> str:
    if not value:
        return "empty"
    if _INTEGER.fullmatch(value):
        return "integer"
    if _NUMBER.fullmatch(value):
        return "number"
    return "boolean" if value.lower() in (b"true", b"false") else "string"
