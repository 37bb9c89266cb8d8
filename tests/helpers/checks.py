"""Check bytes as a file of some name, without a server."""

import io
from pathlib import Path

from ingot.server.core.params import Finding, Rules
from ingot.server.formats import checking
from ingot.server.formats.checking import Checked
from ingot.server.formats.quarantine import Quarantine

NO_RULES = Rules()


class BytesSource(io.BytesIO):
    """Bytes in memory as a source."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.getbuffer().nbytes


def checked(
    path: str, data: bytes, folder: Path, rules: Rules = NO_RULES, quarantine: Quarantine | None = None
) -> Checked:
    """Check a file of these bytes."""
    return checking.check(path, BytesSource(data), rules, folder, quarantine=quarantine)


def errors(found: Checked) -> list[Finding]:
    """Return the findings that are errors."""
    return [each for each in found.findings.kept if each.severity == "error"]


def reasons(found: Checked) -> set[str]:
    """Return the reasons of all findings."""
    return {each.reason for each in found.findings.kept}
