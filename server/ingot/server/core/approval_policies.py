"""What an approval needs, and the state of one: words that versions and artifacts have, too.

An artifact's policy adds to that of its namespace, and both to what the server is set to ask for; none takes
anything away.
"""

from dataclasses import dataclass
from enum import StrEnum


class ApprovalState(StrEnum):
    """State of an approval; that of a version's newest one is the version's own."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DECLINED = "DECLINED"
    WITHDRAWN = "WITHDRAWN"


VALIDATION, SCAN, LICENSE = "validation", "scan", "license"
EVIDENCE = (VALIDATION, SCAN, LICENSE)  # what may be required by name


def digits(number: float) -> str:
    """Return a number with all that tells it from others: 0.89999 is not told as 0.9."""
    return repr(float(number)).removesuffix(".0")


@dataclass(frozen=True, slots=True)
class MetricThreshold:
    """Between which numbers a performance metric must be; None does not limit it."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def limits(self) -> str:
        """Return the limits as people read them."""
        parts = []
        if self.minimum is not None:
            parts.append(f"at least {digits(self.minimum)}")
        if self.maximum is not None:
            parts.append(f"at most {digits(self.maximum)}")
        return " and ".join(parts) or "a number"


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """What approvals of the versions of an artifact, or of all in a namespace, need."""

    required_evidence: tuple[str, ...] = ()
    thresholds: tuple[MetricThreshold, ...] = ()
    protected_aliases: tuple[str, ...] = ()  # ids; they move only to approved versions

    @property
    def words(self) -> tuple[str, ...]:
        """Return what the policy asks for in words, for the audit log."""
        limits = [f"{each.metric} {each.limits}" for each in self.thresholds]
        aliases = [f"@{alias}" for alias in self.protected_aliases]
        return (*self.required_evidence, *limits, *aliases) or ("nothing",)

    def __or__(self, other: "ApprovalPolicy") -> "ApprovalPolicy":
        """Return what asks for everything that either asks for."""
        return ApprovalPolicy(
            tuple(dict.fromkeys((*self.required_evidence, *other.required_evidence))),
            tuple(dict.fromkeys((*self.thresholds, *other.thresholds))),
            tuple(dict.fromkeys((*self.protected_aliases, *other.protected_aliases))),
        )
