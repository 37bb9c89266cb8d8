"""Check plain text: UTF-8, no control characters, lines of a sane length. Each line with text is a record."""

import re
from collections.abc import Sequence

from ingot.server.core.params import FileReport
from ingot.server.formats.line_check import LineCheck
from ingot.server.formats.records import Defect, wrong_length
from ingot.server.formats.seam import Inspection

NAME = "txt"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")  # tab and form feed occur in honest text


def check(inspection: Inspection) -> FileReport:
    """Check a file line by line."""
    return _Text(inspection).run()


class _Text(LineCheck):
    name = NAME

    def __init__(self, inspection: Inspection) -> None:
        super().__init__(inspection)
        rules = inspection.rules
        self._rules = rules
        self._count = 0
        self._next = 0
        if rules.required_columns:
            columns = ", ".join(rules.required_columns)
            self.findings.error(
                "missing_column", f"Plain text has no columns; expected {columns} (required_columns)."
            )

    def defects(self, rows: Sequence[bytes]) -> list[Defect]:
        found: list[Defect] = []
        lengths: list[int] = []
        for index, raw in enumerate(rows):
            odd = _CONTROL.search(raw, 0, len(raw) - raw.endswith(b"\r"))
            try:
                text = raw.decode("utf-8").rstrip("\r")
            except UnicodeDecodeError as failure:
                if odd is None or failure.start < odd.start():
                    message = f"Byte 0x{raw[failure.start]:02x} is no UTF-8 here ({failure.reason})."
                    found.append(Defect(index, failure.start, "invalid_utf8", message))
                    continue
            if odd is not None:
                found.append(_control(index, raw, odd.start()))
                continue
            lengths.append(len(text))
            found += wrong_length(index, len(text), self._rules)
            if self._count + index >= self._next:
                self._next += self.statistics.profile.stride
                self.statistics.profile.add(text)
        self._count += len(rows)
        self.statistics.lengths.add(lengths)
        return found

    def columns(self) -> dict[str, object]:
        return {}


def _control(index: int, raw: bytes, at: int) -> Defect:
    if raw[at] == 0:
        return Defect(index, at, "nul", "A NUL byte; expected text.")
    return Defect(index, at, "control_character", f"Control character 0x{raw[at]:02x}; expected text.")
