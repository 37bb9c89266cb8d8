"""How the server is and what it holds: the answers of GetHealth and GetStorage in our own words."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class HealthStatus(StrEnum):
    """How well something is, best first."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True, slots=True)
class HealthPart:
    """How one part is: database, disk, …; `message` is one line, `figures` more for administrators."""

    name: str
    status: HealthStatus
    message: str
    figures: str = ""


@dataclass(frozen=True, slots=True)
class WriterReport:
    """The queue before the one writer of the database; times in seconds."""

    waiting: int
    holder: str  # name of what is being written; empty when idle
    holder_seconds: float
    longest_wait_seconds: float  # in the last minute or two


@dataclass(frozen=True, slots=True)
class Tallies:
    """Counts of rows that GetHealth shows."""

    active_uploads: int
    failed_uploads: int
    total_files: int
    lost_chunks: int = 0  # known, and not readable
    missing_packs: int = 0  # known, and not on the shelf
    running_operations: int = 0
    waiting_operations: int = 0  # whose time has come
    longest_wait_seconds: float = 0.0  # of those
    longest_waiting: str = ""  # operations/{id}, its kind and its queue, in words


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How the whole server is."""

    parts: Sequence[HealthPart]
    database_version: str
    writer: WriterReport
    tallies: Tallies

    @property
    def status(self) -> HealthStatus:
        """The worst of all parts."""
        order = list(HealthStatus)
        return max((part.status for part in self.parts), key=order.index)


@dataclass(frozen=True, slots=True)
class StorageArea:
    """Logical bytes of one area: the sum of the sizes of its files, whatever they share."""

    name: str  # datasets, models, checkpoints, staging
    logical_bytes: int
    item_count: int  # versions, checkpoints or uploads


@dataclass(frozen=True, slots=True)
class StorageReport:
    """What the server holds, logically by area and physically as a whole."""

    areas: Sequence[StorageArea]
    chunk_bytes: int
    chunk_count: int
    pack_bytes: int
    pack_count: int
    disk_total_bytes: int
    disk_free_bytes: int
    database_bytes: int

    @property
    def logical_bytes(self) -> int:
        """All areas together."""
        return sum(area.logical_bytes for area in self.areas)


class Vitals(Protocol):
    """Where the figures come from. Called outside of units of work, on a thread that may wait."""

    @property
    def database_version(self) -> str:
        """Name and version of the database engine."""
        ...

    @property
    def database_warning(self) -> str:
        """What is known to be wrong with that version, empty when nothing is."""
        ...

    def tallies(self) -> Tallies:
        """Count rows. Raises whatever the database raises when it cannot be read."""
        ...

    def probe_writer(self, seconds: float) -> None:
        """Pass through the write queue. Raises TimeoutError after `seconds`, or what the database raises."""
        ...

    def writer(self) -> WriterReport:
        """Return what the writer does now."""
        ...

    def disk(self) -> tuple[int, int]:
        """Return the size of the disk below the data folder and what is free of it, in bytes."""
        ...

    def storage(self) -> StorageReport:
        """Measure everything that is stored."""
        ...
