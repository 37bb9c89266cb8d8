"""The frame of checks that go line by line: what JSONL and plain text have in common."""

from collections.abc import Sequence
from itertools import accumulate

from ingot.server.core.params import FileReport
from ingot.server.formats import lines, records
from ingot.server.formats.lines import Batch
from ingot.server.formats.records import Defect
from ingot.server.formats.seam import Inspection
from ingot.server.formats.statistics import Statistics

_BLANK = b" \t\r"


class LineCheck:
    """Reads a file in batches of lines; a child says what is wrong with a line."""

    name: str
    empty_lines: str = ""  # "warning" to report them; they are no records either way

    def __init__(self, inspection: Inspection) -> None:
        self.inspection = inspection
        self.findings = inspection.findings
        self.statistics = Statistics(inspection.source.size, inspection.folder)
        self._row = 0  # lines before the batch
        self._empty = 0
        self._returns = 0
        self._closed = True

    def defects(self, rows: Sequence[bytes]) -> list[Defect]:
        """Return what is wrong with the records, at most one defect for each."""
        raise NotImplementedError

    def columns(self) -> dict[str, object]:
        """Return statistics of the child's own, and report what is only known at the end."""
        raise NotImplementedError

    def run(self) -> FileReport:
        """Check the file."""
        source = self.inspection.source
        try:
            if lines.skip_mark(source, self.findings) is not None:
                for batch in lines.batches(source):
                    self._take(batch)
                    self._row += len(batch.lines)
                    self.inspection.progress(batch.end)
            return self._report()
        finally:
            self.statistics.close()

    def _take(self, batch: Batch) -> None:
        self._closed = batch.closed
        self._returns += batch.returns
        if batch.cut:
            self._too_long(batch)
            return
        rows = batch.lines
        numbers: Sequence[int] = range(len(rows))
        if not all(map(bytes.strip, rows)):
            numbers = [index for index, each in enumerate(rows) if each.strip(_BLANK)]
            self._note_empty(batch, set(numbers))
            rows = [rows[index] for index in numbers]
        self.statistics.add(rows, [self._row + 1 + each for each in numbers])
        defects = self.defects(rows)
        quarantine = self.inspection.quarantine
        if defects:
            self.statistics.bad_records += len(defects)
            offsets = _offsets(batch)
            for defect in defects:
                line = numbers[defect.index]
                place = batch.offset + offsets[line]
                row = self._row + line + 1
                records.report(self.findings, defect, rows[defect.index], row, place, quarantine)
        if quarantine is not None:
            records.keep_good(quarantine, rows, defects)

    def _note_empty(self, batch: Batch, filled: set[int]) -> None:
        self._empty += len(batch.lines) - len(filled)
        if not self.empty_lines:
            return
        offsets = _offsets(batch)
        for index in range(len(batch.lines)):
            if index not in filled:
                self.findings.warning(
                    "empty_line",
                    "The line is empty; expected a record.",
                    row=self._row + index + 1,
                    byte_offset=batch.offset + offsets[index],
                    column=1,
                )

    def _too_long(self, batch: Batch) -> None:
        begun = batch.lines[0]
        self.statistics.records += 1
        self.statistics.bad_records += 1
        message = f"The line has more than {len(begun)} bytes; only its beginning was looked at."
        defect = Defect(0, 0, "line_too_long", message)
        row = self._row + 1
        records.report(self.findings, defect, begun, row, batch.offset, self.inspection.quarantine)

    def _report(self) -> FileReport:
        if not self._closed:
            message = "The last line has no line feed; it may be cut."
            end = self.inspection.source.tell()
            self.findings.warning("no_final_newline", message, row=self._row, byte_offset=end)
        if 0 < self._returns < self._row:
            message = f"{self._returns} of {self._row} lines end with CR LF, the others with LF."
            self.findings.warning("mixed_line_ends", message)
        own = self.columns()
        counted = self.statistics.finish(self.findings)
        return FileReport(
            path=self.inspection.path,
            size_bytes=self.inspection.source.size,
            format=self.name,
            validator=self.name,
            records=self.statistics.records,
            bad_records=self.statistics.bad_records,
            duplicates=self.statistics.duplicates,
            statistics={
                "lines": self._row,
                "empty_lines": self._empty,
                "crlf_lines": self._returns,
                **own,
                **counted,
            },
        )


def _offsets(batch: Batch) -> list[int]:
    """Return where each line begins in the batch."""
    return list(accumulate((len(each) + 1 for each in batch.lines), initial=0))
