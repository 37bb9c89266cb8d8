"""The event log: what happened to one training job or operation, one numbered row after the other.

A log belongs to a subject (a resource name). Its events are numbered from 1 without gaps, in the order in
which they became durable, so a reader that remembers the last number it handled loses nothing and sees
nothing twice. A producer that may have to repeat itself gives its events numbers of its own (`producer_seq`,
within an attempt).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol

from ingot.server.core.errors import Reason

LARGEST_LOG_LINE = 64 * 1024  # bytes of UTF-8 in the text of one log event
LARGEST_BATCH = 1000  # events in one report
_LONGEST_REASON = 200  # characters of the reason for a change of state


class EventKind(StrEnum):
    """What an event tells."""

    STATE = "state"
    PROGRESS = "progress"
    METRICS = "metrics"
    LOG = "log"
    CHECKPOINT = "checkpoint"
    WARNING = "warning"


class LogLevel(IntEnum):
    """How serious a log line is."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of state, by the names of the resource's state enum."""

    before: str
    after: str
    message: str = ""

    @classmethod
    def because(cls, before: str, after: str, message: str) -> "StateChange":
        """Return a change with the first line of a message, cut to what fits; a problem has it whole."""
        line = next(iter(message.strip().splitlines()), "")
        cut = line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"
        return cls(before, after, cut)


class FileProgress(NamedTuple):
    """How far one file is, in bytes; `total` 0 is not known."""

    path: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something long has come; `percent` is 0 to 100, `eta` seconds or None when unknown."""

    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    percent: float = 0.0
    rate: float = 0.0
    eta: float | None = None
    message: str = ""
    files: tuple[FileProgress, ...] = ()  # that are being worked on right now

    def __post_init__(self) -> None:
        # Where it is kept as JSON, files come back as lists.
        object.__setattr__(self, "files", tuple(FileProgress(*each) for each in self.files))


@dataclass(frozen=True, slots=True)
class Metrics:
    """Named numbers measured at one step."""

    step: int
    epoch: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LogLine:
    """A piece of a log; rank -1 is the agent."""

    level: LogLevel
    rank: int
    text: str


@dataclass(frozen=True, slots=True)
class CheckpointNote:
    """A checkpoint was committed; `kind` is periodic, pause, best or final."""

    name: str
    step: int
    digest: str
    kind: str


@dataclass(frozen=True, slots=True)
class WarningNote:
    """Something odd that did not stop the work."""

    reason: Reason
    message: str


Body = StateChange | Progress | Metrics | LogLine | CheckpointNote | WarningNote

KIND_OF: dict[type[Body], EventKind] = {
    StateChange: EventKind.STATE,
    Progress: EventKind.PROGRESS,
    Metrics: EventKind.METRICS,
    LogLine: EventKind.LOG,
    CheckpointNote: EventKind.CHECKPOINT,
    WarningNote: EventKind.WARNING,
}


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append; `producer_seq` 0 is an event of the server itself."""

    body: Body
    producer_seq: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One row of a log; `time` is when the server stored it, in epoch seconds."""

    seq: int
    time: float
    attempt: int
    producer_seq: int
    body: Body


@dataclass(frozen=True, slots=True)
class Bounds:
    """The oldest number kept and the last one given; (1, 0) for a log without events."""

    oldest: int
    latest: int


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A point of a series; `time` is when it was measured, in epoch seconds."""

    step: int
    value: float
    time: float


class Announcer(Protocol):
    """Told, after the commit and outside any transaction, that somebody may be waiting for this."""

    def publish(self, subject: str, events: Sequence[Event]) -> None:
        """Hand over the events just appended to a log, in order; may be called from any thread."""
        ...

    def wake(self, topic: str) -> None:
        """Wake whoever waits for a topic that is no log (work that waits, orders to a worker)."""
        ...
