"""Check JSON Lines: one object a line, UTF-8, of any size. `row` of a finding is the line, from 1."""

from collections.abc import Sequence

from ingot.server.core.params import FileReport
from ingot.server.formats.json_records import JsonRecords
from ingot.server.formats.line_check import LineCheck
from ingot.server.formats.records import Defect
from ingot.server.formats.seam import Inspection

NAME = "jsonl"


def check(inspection: Inspection) -> FileReport:
    """Check a file line by line."""
    return _JsonLines(inspection).run()


class _JsonLines(LineCheck):
    name = NAME
    empty_lines = "warning"

    def __init__(self, inspection: Inspection) -> None:
        super().__init__(inspection)
        self._records = JsonRecords(inspection.rules, self.statistics)

    def defects(self, rows: Sequence[bytes]) -> list[Defect]:
        return self._records.check(rows)

    def columns(self) -> dict[str, object]:
        self._records.remarks(self.findings)
        return self._records.shapes.document()
