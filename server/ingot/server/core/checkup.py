"""What a checkup of the store finds, and how it is told."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

_MOST = 1000  # findings that are listed


class Fault(StrEnum):
    """Kinds of findings. The first two are what a crash leaves and the next start puts right: no faults."""

    LEFTOVER_STREAM = "leftover stream"
    UNKNOWN_PACK = "unknown pack"
    DAMAGED_DATABASE = "damaged database"
    MISSING_PACK = "missing pack"
    BROKEN_PACK = "broken pack"
    MISPLACED_CHUNK = "misplaced chunk"
    DAMAGED_CHUNK = "damaged chunk"
    UNREADABLE_PACK = "unreadable pack"
    LEASE_WITHOUT_UPLOAD = "lease without upload"
    HOLD_WITHOUT_TREE = "hold without tree"
    HOLD_WITHOUT_CHUNK = "hold without chunk"
    CHUNK_WITHOUT_PACK = "chunk without pack"
    INCOMPLETE_TREE = "incomplete tree"
    WRONG_ACCOUNT = "wrong account"
    BROKEN_AUDIT = "broken audit log"

    @property
    def is_harmless(self) -> bool:
        """Whether nothing is wrong: a start of the server deals with it."""
        return self in (Fault.LEFTOVER_STREAM, Fault.UNKNOWN_PACK)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `needed_by` names versions, checkpoints and uploads."""

    fault: Fault
    subject: str
    message: str
    next_step: str
    needed_by: Sequence[str] = ()
    repaired: bool = False


@dataclass(slots=True)
class CheckupReport:
    """What was looked at and found; `bytes` is what was read of chunks, `counts` has also what is cut."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[Fault] = field(default_factory=Counter)
    packs: int = 0
    bytes: int = 0
    trees: int = 0
    healed_chunks: int = 0  # lost ones that were found again in a pack

    def add(self, finding: Finding, count: int = 1) -> None:
        """Take a finding in that stands for `count` things."""
        self.counts[finding.fault] += count
        if len(self.findings) < _MOST:
            self.findings.append(finding)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return all(fault.is_harmless for fault in self.counts)

    @property
    def left(self) -> Sequence[Finding]:
        """What is wrong and was not repaired."""
        return [each for each in self.findings if not each.repaired and not each.fault.is_harmless]
