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


@dataclass(frozen=True, slots=True)
class MetricThreshold:
    """Between which numbers a performance metric must be; None does not limit it."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """What approvals of the versions of an artifact, or of all in a namespace, need."""

    required_evidence: tuple[str, ...] = ()
    thresholds: tuple[MetricThreshold, ...] = ()
    protected_aliases: tuple[str, ...] = ()  # ids; they move only to approved versions

    def __or__(self, other: "ApprovalPolicy") -> "ApprovalPolicy":
        """Return what asks for everything that either asks for."""
        return ApprovalPolicy(
            tuple(dict.fromkeys((*self.required_evidence, *other.required_evidence))),
            tuple(dict.fromkeys((*self.thresholds, *other.thresholds))),
            tuple(dict.fromkeys((*self.protected_aliases, *other.protected_aliases))),
        )
