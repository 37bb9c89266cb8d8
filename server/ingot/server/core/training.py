"""Training jobs and their checkpoints, and the one function that changes the state of a job.

    DRAFT ─start─▶ QUEUED ─claim─▶ PREPARING ─run─▶ RUNNING ─succeed─▶ SUCCEEDED
                    ▲  │               └──────┬────────┘ └──────fail─▶ FAILED ─resume─▶ QUEUED
                    │  └─pause─┐            pause
                  resume       ▼              ▼
                    └─────── PAUSED ◀─saved─ PAUSING

A job that a worker has (PREPARING, RUNNING, PAUSING, CANCELLING) can be let go: its lease ran out, its
attempt failed in a way that trying again may help, or the worker gave it back. It then waits again (QUEUED),
unless somebody asked for a pause or an end meanwhile, which has then happened. Cancelling ends at once where
no worker has the job, and through CANCELLING where one has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ingot.server.core.errors import Precondition, Problem, Reason
from ingot.server.core.events import Metrics, Progress
from ingot.server.core.ids import etag_of
from ingot.server.core.names import ArtifactName, VersionName
from ingot.server.core.training_config import DeepSpeedConfig, TrainingConfig


class JobState(StrEnum):
    """State of a training job."""

    DRAFT = "DRAFT"
    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Move(StrEnum):
    """What may happen to a job: a person's verb, or what its worker did."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    CLAIM = "claim"
    RUN = "run"
    SAVED = "saved"
    STOPPED = "stopped"
    SUCCEED = "succeed"
    FAIL = "fail"
    LET_GO = "let go"


class Desired(StrEnum):
    """What a job was last asked to do."""

    RUN = "RUN"
    PAUSE = "PAUSE"
    CANCEL = "CANCEL"


_S = JobState
_MOVES: dict[Move, dict[JobState, JobState]] = {
    Move.START: {_S.DRAFT: _S.QUEUED},
    Move.PAUSE: {
        _S.QUEUED: _S.PAUSED,
        _S.PREPARING: _S.PAUSING,
        _S.RUNNING: _S.PAUSING,
        _S.PAUSING: _S.PAUSING,
        _S.PAUSED: _S.PAUSED,
    },
    # A resume while the pause is still being done is remembered in `desired` and happens after it.
    Move.RESUME: {_S.PAUSED: _S.QUEUED, _S.FAILED: _S.QUEUED, _S.PAUSING: _S.PAUSING},
    Move.CANCEL: {
        _S.DRAFT: _S.CANCELLED,
        _S.QUEUED: _S.CANCELLED,
        _S.PAUSED: _S.CANCELLED,
        _S.PREPARING: _S.CANCELLING,
        _S.RUNNING: _S.CANCELLING,
        _S.PAUSING: _S.CANCELLING,
        _S.CANCELLING: _S.CANCELLING,
        _S.CANCELLED: _S.CANCELLED,
    },
    Move.CLAIM: {_S.QUEUED: _S.PREPARING},
    Move.RUN: {
        _S.PREPARING: _S.RUNNING,
        _S.RUNNING: _S.RUNNING,
        _S.PAUSING: _S.PAUSING,
        _S.CANCELLING: _S.CANCELLING,
    },
    # A worker may pause by itself, when its disk is full.
    Move.SAVED: {
        _S.PREPARING: _S.PAUSED,
        _S.RUNNING: _S.PAUSED,
        _S.PAUSING: _S.PAUSED,
        _S.CANCELLING: _S.CANCELLED,
    },
    Move.STOPPED: {_S.CANCELLING: _S.CANCELLED},
    # The result is committed by then, so a pause or a cancel that came too late does not undo it.
    Move.SUCCEED: {
        _S.PREPARING: _S.SUCCEEDED,
        _S.RUNNING: _S.SUCCEEDED,
        _S.PAUSING: _S.SUCCEEDED,
        _S.CANCELLING: _S.SUCCEEDED,
    },
    Move.FAIL: {
        _S.PREPARING: _S.FAILED,
        _S.RUNNING: _S.FAILED,
        _S.PAUSING: _S.FAILED,
        _S.CANCELLING: _S.CANCELLED,
    },
    Move.LET_GO: {
        _S.PREPARING: _S.QUEUED,
        _S.RUNNING: _S.QUEUED,
        _S.PAUSING: _S.PAUSED,
        _S.CANCELLING: _S.CANCELLED,
    },
}

HELD_STATES = frozenset({_S.PREPARING, _S.RUNNING, _S.PAUSING, _S.CANCELLING})  # a worker has it
FINAL_STATES = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELLED})  # a watch ends after these
LIVE_STATES = HELD_STATES | {_S.QUEUED}  # a job that may not be deleted

_NEXT_STEP: dict[Move, str] = {
    Move.START: "Only a draft is started; a paused or failed job is resumed.",
    Move.PAUSE: "Only a job that waits or runs can be paused.",
    Move.RESUME: "Only a paused or failed job can be resumed; a draft is started.",
    Move.CANCEL: "The job has ended already; delete it when it is not needed.",
}


def transition(state: JobState, move: Move) -> JobState:
    """Return the state of a job after a move. Raises Precondition (STATE_INVALID) for an impossible one."""
    after = _MOVES[move].get(state)
    if after is None:
        raise Precondition(
            Reason.STATE_INVALID,
            f"A training job that is {state} cannot take the step {move}.",
            next_step=_NEXT_STEP.get(move, "Read the job again and act on its present state."),
            facts={"state": state.value},
        )
    return after


def order_for(state: JobState) -> Desired:
    """Return what the worker of a job in this state is asked to do."""
    return {_S.PAUSING: Desired.PAUSE, _S.CANCELLING: Desired.CANCEL}.get(state, Desired.RUN)


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """A concrete version and its tree digest, fixed when the job was created."""

    name: VersionName
    digest: bytes  # 32 bytes


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training will need, worked out before the start; sizes in bytes, duration in seconds."""

    steps: int = 0
    tokens: int = 0
    parameters: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    duration: float | None = None
    global_batch_size: int = 0
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    missing_software: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResumeCertificate:
    """Evidence, from the trainer, that training after a resume is the training that would have been."""

    step: int
    checkpoint: str
    digest: str
    exact: bool
    reason: str


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training. Times are epoch seconds, None when it has not happened; spans are seconds."""

    number: int
    uid: str
    namespace: str
    creator: str
    display_name: str
    dataset: PinnedVersion
    base: PinnedVersion | None
    config: TrainingConfig
    deepspeed: DeepSpeedConfig
    output_artifact: ArtifactName
    plan: TrainingPlan
    create_time: float
    update_time: float
    state: JobState = JobState.DRAFT
    desired: Desired | None = None
    attempt: int = 0
    worker: str = ""  # id of the worker that has it, or had it last
    lease_expire_time: float | None = None
    last_outcome: str = ""  # how the attempt ended; "" while it goes on. A repeated FinishWork is known by it
    not_before: float = 0.0  # not claimed before this time: the delay of a retry
    fruitless: int = 0  # attempts lost since the last checkpoint
    output_version: str = ""
    progress: Progress | None = None
    latest_metrics: Metrics | None = None
    best_step: int | None = None
    latest_step: int | None = None
    certificate: ResumeCertificate | None = None
    problem: Problem | None = None
    training_seconds: float = 0.0  # of finished stretches of RUNNING
    running_since: float | None = None
    start_time: float | None = None
    finish_time: float | None = None
    revision: int = 1  # changes with every change of state or field, not with progress
    reproduces: str = ""  # name of the job that it does again

    @property
    def id(self) -> str:
        """Return the last part of its name."""
        return f"job_{self.number}"

    @property
    def name(self) -> str:
        """Return its resource name, also the subject of its event log."""
        return f"trainingJobs/{self.id}"

    @property
    def etag(self) -> str:
        """Return the opaque tag that changes with the revision."""
        return etag_of(self.uid, self.revision)

    def training_time(self, now: float) -> float:
        """Return the seconds spent RUNNING over all attempts, until now."""
        return self.training_seconds + (max(0.0, now - self.running_since) if self.running_since else 0.0)


class CheckpointKind(StrEnum):
    """Why a checkpoint was saved."""

    PERIODIC = "periodic"
    PAUSE = "pause"
    BEST = "best"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A checkpoint to be, as the worker announced it with its upload."""

    job: str  # id
    step: int
    attempt: int
    epoch: float
    kind: CheckpointKind
    metrics: Mapping[str, float] = field(default_factory=dict)
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Restartable state of a job."""

    job: str  # id
    step: int
    epoch: float
    kind: CheckpointKind
    attempt: int
    world_size: int
    metrics: Mapping[str, float]
    tree: int  # id of the tree that holds its files
    digest: bytes  # 32 bytes: the tree digest
    size_bytes: int
    file_count: int
    create_time: float

    @property
    def name(self) -> str:
        """Return its resource name."""
        return f"trainingJobs/{self.job}/checkpoints/{self.step}"


@dataclass(frozen=True, slots=True)
class TrainingStats:
    """Totals over jobs; `training_seconds` is the time spent RUNNING."""

    by_state: Mapping[JobState, int]
    training_seconds: float


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is shown: with why it waits, and its training time until now in seconds."""

    job: TrainingJob
    pending_reason: str
    training_seconds: float
