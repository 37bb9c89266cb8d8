"""What an approval needs, and the state of one: words that versions and artifacts have, too.

An artifact's policy adds to what the server is set to ask for; it can take nothing away.
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
    """What approvals of the versions of an artifact need, beyond what the server asks for."""

    required_evidence: tuple[str, ...] = ()
    thresholds: tuple[MetricThreshold, ...] = ()
    protected_aliases: tuple[str, ...] = ()  # ids; they move only to approved versions
