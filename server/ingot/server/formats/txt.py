"""Check plain text: UTF-8, no control characters, lines of a sane length. Each line with text is a record."""

import re
from collections.abc import Sequence

from ingot.server.core.params import FileReport
from ingot.server.formats.line_check import LineCheck
from ingot.server.formats.records import Defect, wrong_length
from ingot.server.formats.seam import Inspection

NAME = "txt"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")  # not tab, form feed, and CR, which old text has


def check(inspection: Inspection) -> FileReport:
    """Check a file line by line."""
    return _Text(inspection).run()


class _Text(LineCheck):
    name = NAME

    def __init__(self, inspection: Inspection) -> None:
        super().__init__(inspection)
        rules = inspection.rules
        self._rules = rules
        self._length_matters = rules.min_text_length is not None or rules.max_text_length is not None
        self._count = 0
        self._next = 0
        if rules.required_columns:
            columns = ", ".join(rules.required_columns)
            self.findings.error(
                "missing_column", f"Plain text has no columns; expected {columns} (required_columns)."
            )

    def defects(self, rows: Sequence[bytes]) -> list[Defect]:
        texts = _texts(rows)
        found: list[Defect] = []
        if texts is None:  # something is wrong with one of them at least
            texts, found = _judged(rows)
        bad = {each.index for each in found}
        if self._length_matters:
            for index, text in enumerate(texts):
                if index not in bad:
                    found += wrong_length(index, len(text), self._rules)
            found.sort(key=lambda each: each.index)
        self.statistics.lengths.add([len(each) for index, each in enumerate(texts) if index not in bad])
        while self._next < self._count + len(rows):
            index = self._next - self._count
            if index not in bad:
                self.statistics.profile.add(texts[index])
            self._next += self.statistics.profile.stride
        self._count += len(rows)
        return found

    def columns(self) -> dict[str, object]:
        return {}


def _texts(rows: Sequence[bytes]) -> list[str] | None:
    """Return the texts of lines when all is well with all of them, which is found out at once."""
    whole = b"\n".join(rows)
    if b"\r" in whole or _CONTROL.search(whole):
        return None
    try:
        return whole.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return None


def _judged(rows: Sequence[bytes]) -> tuple[list[str], list[Defect]]:
    """Return the texts of lines, and what is wrong with those that are bad."""
    texts: list[str] = []
    found: list[Defect] = []
    for index, raw in enumerate(rows):
        odd = _CONTROL.search(raw)
        at = odd.start() if odd else len(raw)
        try:
            texts.append(raw.decode("utf-8").removesuffix("\r"))
        except UnicodeDecodeError as failure:
            texts.append("")
            if failure.start < at:
                message = f"Byte 0x{raw[failure.start]:02x} is no UTF-8 here ({failure.reason})."
                found.append(Defect(index, failure.start, "invalid_utf8", message))
                continue
        if odd:
            found.append(_control(index, raw, at))
    return texts, found


def _control(index: int, raw: bytes, at: int) -> Defect:
    if raw[at] == 0:
        return Defect(index, at, "nul", "A NUL byte; expected text.")
    return Defect(index, at, "control_character", f"Control character 0x{raw[at]:02x}; expected text.")
