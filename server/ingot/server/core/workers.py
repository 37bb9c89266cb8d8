"""Workers: machines that train and generate, what they have, and what they were given to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ingot.server.core.errors import NotFound, Precondition, Reason
from ingot.server.core.events import LogLine, Metrics, Progress, WarningNote
from ingot.server.core.names import VersionName
from ingot.server.core.training import Desired, JobState, ResumeCertificate, TrainingJob


class WorkerState(StrEnum):
    """State of a worker, worked out from when it was last heard from."""

    ONLINE = "ONLINE"
    DRAINING = "DRAINING"
    OFFLINE = "OFFLINE"


class WorkKind(StrEnum):
    """What kind of work there is."""

    TRAINING = "TRAINING"
    GENERATION = "GENERATION"


class WorkOutcome(StrEnum):
    """How claimed work ended."""

    SUCCEEDED = "SUCCEEDED"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    RELEASED = "RELEASED"


@dataclass(frozen=True, slots=True)
class Device:
    """A device that can train: kind is cpu or cuda, count the cores of a CPU and 1 for a GPU."""

    kind: str
    name: str
    memory_bytes: int
    count: int


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker tells about its machine when it registers."""

    display_name: str
    devices: tuple[Device, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    missing_software: tuple[str, ...] = ()
    free_disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Worker:
    """A registered worker; `token` is the name of the credential it came with, times are epoch seconds."""

    number: int
    token: str
    facts: WorkerFacts
    address: str
    create_time: float
    last_heartbeat_time: float

    @property
    def id(self) -> str:
        """Return the last part of its name."""
        return f"worker_{self.number}"

    @property
    def name(self) -> str:
        """Return its resource name."""
        return f"workers/{self.id}"

    @property
    def has_gpu(self) -> bool:
        """Return whether it can train on a GPU."""
        return any(device.kind == "cuda" for device in self.facts.devices)

    @property
    def takes_no_work(self) -> bool:
        """Return whether it must not be given work, because it could not do any."""
        return bool(self.facts.missing_software)

    def is_online(self, now: float, silence: float) -> bool:
        """Return whether it was heard from within the last `silence` seconds."""
        return now - self.last_heartbeat_time <= silence


@dataclass(frozen=True, slots=True)
class HeldWork:
    """A piece of work that a worker says it has."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What a piece of work is asked to do; `lost` means that this attempt owns it no more."""

    name: str
    attempt: int
    desired: Desired
    lost: bool = False
    lease_expire_time: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingAssignment:
    """A claimed training job, with the checkpoint to continue from ("" from the start) and its digest."""

    job: TrainingJob
    resume_checkpoint: str
    resume_digest: str


@dataclass(frozen=True, slots=True)
class WorkGrant:
    """What claimed work lets its worker touch: some versions, the job's checkpoints, uploads for the job.

    `namespace` is where those uploads count; `output_artifact` is the one model the job may fill; `creator`
    is whom it works for, as a principal.
    """

    name: str
    attempt: int
    namespace: str
    versions: frozenset[VersionName]
    output_artifact: str = ""
    creator: str = ""


def outdated(name: str, attempt: int) -> Precondition:
    """Return the error for an attempt that owns its work no more: stop, publish nothing."""
    return Precondition(
        Reason.ATTEMPT_OUTDATED,
        f"Attempt {attempt} of {name} is over: the work was given back, ended, or went to another worker.",
        next_step="Stop this attempt at once, publish nothing from it, and claim new work.",
        facts={"name": name, "attempt": str(attempt)},
    )


def worker_not_found(worker: str) -> NotFound:
    """Return the error for a worker that is absent or belongs to another token."""
    return NotFound(
        Reason.WORKER_NOT_FOUND,
        f"There is no worker {worker!r} of this token.",
        next_step="Register again with RegisterWorker and use the name it returns.",
        facts={"worker": worker},
    )


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """How long claims live and how often lost work is tried again; times in seconds."""

    lease_seconds: float = 20.0
    heartbeat_seconds: float = 5.0
    max_retries: int = 3  # attempts that may be lost one after the other without a new checkpoint
    retry_seconds: float = 2.0  # delay of the first retry; doubles with each
    longest_retry_seconds: float = 300.0
    generation_wait_seconds: float = 60.0  # how long a text generation waits for a worker


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as administrators see it; `assignments` are names of work."""

    worker: Worker
    state: WorkerState
    assignments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """Answer to a heartbeat: an order for each piece of work, and whether to claim no more."""

    orders: tuple[WorkOrder, ...]
    drain: bool


@dataclass(frozen=True, slots=True)
class Hints:
    """What a worker should know now; `next_due` is in how many seconds a delayed job may be claimed."""

    waiting: tuple[WorkKind, ...]
    orders: tuple[WorkOrder, ...]
    next_due: float | None


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next piece of generated text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """What happened in a piece of work, by its worker's clock (epoch seconds)."""

    producer_seq: int
    time: float
    body: JobState | Progress | Metrics | LogLine | WarningNote | TextPiece | ResumeCertificate
