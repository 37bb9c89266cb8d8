"""A record that is bad: where in its bytes and why; and how that becomes a finding."""

from collections.abc import Sequence
from dataclasses import dataclass

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
