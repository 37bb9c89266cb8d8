"""What the trainer tells the agent, and the pipe it tells it on.

Rank 0 writes events to an inherited file descriptor; the agent reads them, batches them and sends them on. A
frame is a 4-byte big-endian length and a JSON object `{"seq", "time", "kind", ...fields}`. `seq` counts from
1 in each attempt, so (attempt, seq) names an event for good. Writing blocks when the agent does not read:
read always, spool elsewhere.

The last event of a trainer that ended in order is an `Outcome`; its exit code says nothing. No outcome and no
process means it was killed: the tail of its stderr file is then the evidence. No torch, no grpc.
"""

import dataclasses
import json
import os
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar

from ingot.worker.problem import Problem

EVENTS_FD = "INGOT_EVENTS_FD"  # environment variable that names the inherited descriptor
LARGEST_FRAME = 4 * 1024 * 1024
LARGEST_LOG = 60 * 1024  # bytes of text in one log event; the API takes 64 KiB


@dataclass(frozen=True, slots=True)
class State:
    """The trainer entered a phase; during loading, evaluating, saving and exporting no step event comes."""

    kind: ClassVar[str] = "state"
    phase: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How far reading and tokenising the data are; `total` 0 is unknown."""

    kind: ClassVar[str] = "preparation"
    done: int
    total: int
    unit: str  # bytes, records


@dataclass(frozen=True, slots=True)
class Progress:
    """One training step. Rates are over the window since the event before; seconds and bytes unless said."""

    kind: ClassVar[str] = "progress"
    step: int
    total: int
    epoch: float
    loss: float
    smoothed_loss: float
    grad_norm: float
    learning_rate: float
    tokens: int  # trained on so far, over all attempts
    tokens_per_second: float
    step_seconds: float  # median of the last steps
    eta_seconds: float
    memory_bytes: int  # resident set of this process, now
    device_memory_bytes: int = 0  # peak on the GPU, 0 on a CPU
    skipped_steps: int = 0  # steps dropped because the loss or the gradient was not finite
    data_wait: float = 0.0  # share of the step spent waiting for a batch, 0 to 1


@dataclass(frozen=True, slots=True)
class Metrics:
    """Points of named series at one step: train/loss, val/loss, val/perplexity, test/bits_per_byte, ..."""

    kind: ClassVar[str] = "metrics"
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Log:
    """One line for a person; level is info, warning or error."""

    kind: ClassVar[str] = "log"
    level: str
    text: str
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint is whole on disk: upload `folder` as a tree. `folders.hold` keeps it while you read it."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    folder: str
    checkpoint_kind: str  # periodic, pause, best, final
    epoch: float
    size_bytes: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resumed:
    """Training goes on from a checkpoint; exact when every loss from here is the one that would have been."""

    kind: ClassVar[str] = "resumed"
    step: int
    exact: bool
    reason: str = ""  # why it is not exact


@dataclass(frozen=True, slots=True)
class Result:
    """The finished model in Hugging Face layout lies in `folder`; upload it as the model version."""

    kind: ClassVar[str] = "result"
    folder: str
    step: int
    parameters: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the attempt ended, always the last event.

    `problem` says why when failed, or when paused for lack of disk.
    """

    kind: ClassVar[str] = "outcome"
    outcome: str
    step: int = 0
    problem: Problem | None = None


Event = State | Preparation | Progress | Metrics | Log | Checkpoint | Resumed | Result | Outcome
_KINDS: dict[str, type[Event]] = {
    kind.kind: kind
    for kind in (State, Preparation, Progress, Metrics, Log, Checkpoint, Resumed, Result, Outcome)
}


@dataclass(frozen=True, slots=True)
class Report:
    """An event with its place in the attempt and its time (epoch seconds)."""

    seq: int
    time: float
    event: Event


class EventWriter:
    """The trainer's end. A reader that went away is no reason to stop: writing then does nothing."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._seq = 0

    @staticmethod
    def inherited() -> "EventWriter":
        """Take the descriptor the launcher left in the environment; without one events go nowhere."""
        fd = os.environ.get(EVENTS_FD)
        return EventWriter(int(fd) if fd else None)

    def send(self, event: Event) -> None:
        """Write one event whole, waiting while the pipe is full."""
        if self._fd is None:
            return
        self._seq += 1
        fields = dataclasses.asdict(event)
        frame = encode_frame({"seq": self._seq, "time": time.time(), "kind": event.kind, **fields})
        try:
            write_all(self._fd, frame)
        except BrokenPipeError:
            self._fd = None

    def log(self, text: str, level: str = "info", rank: int = 0) -> None:
        """Send one log line, cut to what the API takes."""
        self.send(Log(level, text.encode()[:LARGEST_LOG].decode(errors="ignore"), rank))


def read_events(stream: BinaryIO) -> Iterator[Report]:
    """Yield reports until the pipe closes; a frame cut short by a kill ends the iteration quietly."""
    for data in read_frames(stream):
        fields = dict(data)
        kind = _KINDS[str(fields.pop("kind"))]
        seq, moment = fields.pop("seq"), fields.pop("time")
        problem = fields.get("problem")
        if isinstance(problem, dict):
            fields["problem"] = Problem(**problem)
        assert isinstance(seq, int)
        assert isinstance(moment, float)
        yield Report(seq, moment, kind(**fields))  # type: ignore[arg-type]  # our own writer made the fields


def encode_frame(data: Mapping[str, object]) -> bytes:
    """Make one frame: length, then JSON."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > LARGEST_FRAME:
        raise ValueError(f"an event of {len(body)} bytes is over the limit of {LARGEST_FRAME}")
    return struct.pack(">I", len(body)) + body


def write_all(fd: int, data: bytes) -> None:
    """Write every byte to a descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_frames(stream: BinaryIO) -> Iterator[dict[str, object]]:
    """Yield the JSON objects of a stream of frames until it ends."""
    while len(head := stream.read(4)) == 4:
        (length,) = struct.unpack(">I", head)
        if length > LARGEST_FRAME:
            raise ValueError(f"a frame announces {length} bytes, over the limit of {LARGEST_FRAME}")
        body = stream.read(length)
        if len(body) < length:
            return
        data = json.loads(body)
        assert isinstance(data, dict)
        yield data
