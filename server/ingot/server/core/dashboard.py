"""What an administrator sees at a glance: the answer of GetDashboard in our own words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingot.server.core.artifacts import CatalogTotals
from ingot.server.core.call_figures import MethodFigures, ProblemFigures
from ingot.server.core.names import Kind
from ingot.server.core.operations import OperationState
from ingot.server.core.training import JobState
from ingot.server.core.usage import ArtifactUsage, UsageReport
from ingot.server.core.workers import WorkerState


@dataclass(frozen=True, slots=True)
class Bytes:
    """What takes how much space."""

    logical: int  # versions and checkpoints, each counted whole
    packs: int  # on disk, where equal bytes are stored once
    folder: int  # the data folder with everything in it
    folder_time: float  # when that was measured, in epoch seconds
    disk_total: int
    disk_free: int


@dataclass(frozen=True, slots=True)
class Work:
    """What goes on."""

    active_uploads: int
    failed_uploads: int
    operations: Mapping[tuple[str, OperationState], int]  # by queue and state
    training_jobs: Mapping[JobState, int]
    workers: Mapping[WorkerState, int]
    pending_approvals: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that rows tell of the server."""

    totals: Mapping[Kind, CatalogTotals]
    users: int
    logical_bytes: int
    pack_bytes: int
    usage: UsageReport
    most_downloaded: Sequence[tuple[str, ArtifactUsage]]
    work: Work
    calls: Mapping[int, int]  # by day
    problems: Sequence[ProblemFigures]
    methods: Sequence[MethodFigures]


Gauges = Mapping[str, float]  # what metrics show of rows, by name


class DashboardStore(Protocol):
    """Counts of rows that the dashboard shows; called inside a unit of work."""

    def users(self) -> int:
        """Return how many users there are."""
        ...

    def logical_bytes(self) -> int:
        """Return the bytes of all versions and checkpoints, each counted whole."""
        ...

    def pack_bytes(self) -> int:
        """Return the bytes of the packs on disk."""
        ...

    def uploads(self) -> tuple[int, int]:
        """Return how many uploads are open, and how many failed."""
        ...

    def operations(self) -> Mapping[tuple[str, OperationState], int]:
        """Return how many operations each queue has in each state."""
        ...

    def training_jobs(self) -> Mapping[JobState, int]:
        """Return how many training jobs there are in each state."""
        ...

    def pending_approvals(self) -> int:
        """Return how many versions wait for a decision."""
        ...


class Measured(Protocol):
    """Sizes of folders and disks; called outside of units of work, on a thread that may wait."""

    def folder(self) -> tuple[int, float]:
        """Return the bytes of the data folder without its packs, and when they were counted (epoch)."""
        ...

    def disk(self) -> tuple[int, int]:
        """Return the size of the disk below it, and what is free of that."""
        ...
