"""What is counted for each data file whatever its format: lengths, duplicates, sample rows, text profile."""

from collections.abc import Sequence
from pathlib import Path

from ingot.server.formats.duplicates import Duplicates
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.samples import Samples
from ingot.server.formats.text_lengths import Lengths
from ingot.server.formats.text_profile import TextProfile

_MANY_DUPLICATES = 0.1


class Statistics:
    """Takes the records of a file, batch by batch."""

    def __init__(self, size: int, folder: Path) -> None:
        self.lengths = Lengths()
        self.profile = TextProfile(size)
        self.records = 0
        self.bad_records = 0
        self.duplicates = 0
        self._counted = 0
        self._duplicates = Duplicates(folder)
        self._samples = Samples()

    def add(self, rows: Sequence[bytes], numbers: Sequence[int]) -> None:
        """Take the bytes of records, with the number of each."""
        self.records += len(rows)
        self._duplicates.add(rows)
        self._samples.add(rows, numbers)

    def finish(self, findings: FindingSink) -> dict[str, object]:
        """Return everything as JSON, and report what somebody should look at. Call it once."""
        self.duplicates = self._duplicates.finish()
        self._counted = self._duplicates.counted
        for reason, message in self.profile.remarks():
            findings.warning(reason, message)
        if self.duplicates > _MANY_DUPLICATES * max(1, self._counted):
            share = self.duplicates / self._counted
            findings.warning(
                "many_duplicates",
                f"{self.duplicates} of {self._counted} records ({share:.0%}) occurred before in the file.",
            )
        return {
            "text_lengths": self.lengths.document(),
            "duplicates": {"count": self.duplicates, "compared_records": self._counted},
            "samples": self._samples.document(),
            **self.profile.document(),
        }

    def close(self) -> None:
        """Give back what it holds; for checks that end early."""
        self._duplicates.close()
