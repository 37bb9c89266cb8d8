"""A record that is bad: where in its bytes and why; and how that becomes a finding."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.params import Rules
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.lines import characters
from ingot.server.formats.quarantine import Quarantine


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with a record."""

    index: int  # of the record in its batch
    at: int  # byte in the record
    reason: str
    message: str
    column: int | None = None  # field of a CSV row; the character in the line when None


def wrong_length(index: int, length: int, rules: Rules) -> list[Defect]:
    """Return the defect of a record whose text is shorter or longer than the rules allow, if it is."""
    least, most = rules.min_text_length, rules.max_text_length
    if least is not None and length < least:
        message = f"The text has {length} characters; expected at least {least} (min_text_length)."
        return [Defect(index, 0, "text_too_short", message)]
    if most is not None and length > most:
        message = f"The text has {length} characters; expected at most {most} (max_text_length)."
        return [Defect(index, 0, "text_too_long", message)]
    return []


def report(
    findings: FindingSink, defect: Defect, record: bytes, row: int, offset: int, quarantine: Quarantine | None
) -> None:
    """Note a defect of the record that begins at `offset`, and put the record aside."""
    column = defect.column or characters(record[: defect.at]) + 1
    place = offset + defect.at
    findings.bad_record(defect.reason, defect.message, row=row, byte_offset=place, column=column)
    if quarantine is not None:
        quarantine.bad(record, reason=defect.reason, row=row, byte_offset=place, column=column)


def keep_good(
    quarantine: Quarantine, records: Sequence[bytes], defects: Sequence[Defect], end: bytes = b"\n"
) -> None:
    """Write the records of a batch that are not bad into the cleaned copy."""
    bad = {each.index for each in defects}
    good = [each for index, each in enumerate(records) if index not in bad]
    if good:
        quarantine.good(end.join([*good, b""]), len(good))


class LinePlace:
    """Knows how many characters of the current line were passed, for text without a limit of line length."""

    def __init__(self) -> None:
        self._passed = 0

    def advance(self, data: bytes) -> None:
        """Go past more of the text."""
        self._passed = self.column(data) - 1

    def column(self, ahead: bytes) -> int:
        """Return the column, from 1, of the character behind `ahead`, which follows what was passed."""
        last = ahead.rfind(b"\n")
        if last >= 0:
            return characters(ahead[last + 1 :]) + 1
        return self._passed + characters(ahead) + 1
