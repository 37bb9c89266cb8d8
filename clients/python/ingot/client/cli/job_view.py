"""A training job as a person follows it: what is worth a line of its own, and the one line of the moment.

It is fed the messages of the watch in their order. State changes, evaluations, checkpoints, warnings and
errors become lines; progress and numbers become the line of the moment.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingot.client.cli import formats, jobs

if TYPE_CHECKING:
    from ingot.v1 import common_pb2, training_pb2

_EVALUATIONS = ("eval_", "perplexity", "val_", "test_", "data_unigram")
_COMPUTING = ("training", "evaluating", "saving")
_LOUD = ("warning", "error")


class JobView:
    """The newest of everything, over the messages of one watch."""

    def __init__(self) -> None:
        self.state = ""
        self._progress: "common_pb2.Progress | None" = None  # noqa: UP037  # protobuf is imported for types alone
        self._numbers: dict[str, float] = {}

    def lines(self, message: "training_pb2.WatchTrainingJobResponse") -> Iterator[str]:
        """Take a message and yield the lines it is worth."""
        kind = message.WhichOneof("message")
        if kind == "snapshot":
            job = message.snapshot
            self.state = jobs.state_of(job)
            if job.HasField("progress"):
                self._progress = job.progress
            self._numbers.update(job.latest_metrics.values)
            waits = f": {job.pending_reason}" if job.pending_reason else ""
            yield f"{job.name} is {self.state}{waits}"
        elif kind == "event":
            for line in self._event(message.event):
                yield f"{formats.clock(message.event.time)}  {line}"

    def now(self) -> str:
        """Return the line of the moment; nothing while the job has no machine."""
        progress, numbers = self._progress, self._numbers
        if progress is None or self.state not in ("preparing", "running", "pausing", "cancelling"):
            return ""
        parts = [progress.phase or self.state]
        parts += _amount(progress)
        if progress.phase not in _COMPUTING:
            return "  ".join(parts)
        for name, title in (("loss", "loss"), ("smoothed_loss", "smoothed"), ("learning_rate", "lr")):
            if (value := jobs.find_number(numbers, name)) is not None:
                parts.append(f"{title} {formats.number(value)}")
        if (speed := jobs.find_number(numbers, "tokens_per_second")) is not None:
            parts.append(f"{formats.count(speed)} tokens/s")
        if (memory := jobs.find_number(numbers, "memory_bytes")) is not None:
            parts.append(formats.size(memory))
        if progress.HasField("eta"):
            parts.append(f"{formats.duration(progress.eta)} left")
        return "  ".join(parts)

    def _event(self, event: "common_pb2.Event") -> Iterator[str]:
        kind = event.WhichOneof("body")
        if kind == "state":
            self.state = _word(event.state.to)
            yield f"{self.state}  {event.state.message}".rstrip()
        elif kind == "progress":
            self._progress = event.progress
        elif kind == "metrics":
            self._numbers.update(event.metrics.values)
            yield from _evaluation(event.metrics)
        elif kind == "checkpoint":
            note = event.checkpoint
            yield f"checkpoint at step {formats.count(note.step)}  {note.kind}  {note.digest[:19]}…"
        elif kind == "warning":
            yield f"warning: {event.warning.message}"
        elif kind == "log":
            yield from _loud(event.log)


def _amount(progress: "common_pb2.Progress") -> Iterator[str]:
    if progress.unit.startswith("bytes") and progress.total:
        yield f"{formats.size(progress.done)} of {formats.size(progress.total)}  {progress.percent:.0f} %"
    elif progress.total:
        done, total = formats.count(progress.done), formats.count(progress.total)
        yield f"{progress.unit.removesuffix('s')} {done}/{total}  {progress.percent:.0f} %"
    elif progress.done:
        yield f"{formats.count(progress.done)} {progress.unit}"


def _evaluation(metrics: "common_pb2.Metrics") -> Iterator[str]:
    shown = {name: value for name, value in metrics.values.items() if name.startswith(_EVALUATIONS)}
    if shown:
        numbers = "  ".join(f"{name} {formats.number(value)}" for name, value in sorted(shown.items()))
        yield f"step {formats.count(metrics.step)}  {numbers}"


def _loud(line: "common_pb2.LogLine") -> Iterator[str]:
    from ingot.v1 import common_pb2

    level = formats.word(common_pb2.LogLevel.Name(line.level), "LOG_LEVEL")
    if level in _LOUD:
        yield f"{level}: {line.text.rstrip()}"


def _word(state: str) -> str:
    return formats.word(state, "TRAINING_JOB_STATE")
