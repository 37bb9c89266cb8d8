"""An operation as a person follows it: what is worth a line of its own, and the lines of the moment.

It is fed the messages of the watch in their order. State changes and warnings become lines; progress becomes
a bar for the whole and one for each file in flight.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ingot.client.cli import formats, named
from ingot.client.cli.bars import cells

if TYPE_CHECKING:
    from ingot.v1 import common_pb2, operations_pb2

STATES = ("queued", "running", "retrying", "cancelling", "succeeded", "failed", "cancelled")
_WAITING = {"queued": "its turn", "retrying": "the next try"}
_LIVE = ("running", "cancelling")
_LOUD = ("warning", "error")
_PATH_COLUMNS = 40


class OperationView:
    """The newest of everything, over the messages of one watch."""

    def __init__(self, *, drawn: bool, every_line: bool) -> None:
        self.state = ""
        self._drawn = drawn
        self._loud = (*_LOUD, "info") if every_line else _LOUD
        self._progress: "common_pb2.Progress | None" = None  # noqa: UP037  # protobuf is imported for types alone

    def lines(self, message: "operations_pb2.WatchOperationResponse") -> Iterator[str]:
        """Take a message and yield the lines it is worth."""
        kind = message.WhichOneof("message")
        if kind == "snapshot":
            operation = message.snapshot
            self.state = state_of(operation)
            if operation.HasField("progress"):
                self._progress = operation.progress
            yield f"{operation.name} is {self.state}: {what(operation)}"
        elif kind == "event":
            for line in self._event(message.event):
                yield f"{formats.clock(message.event.time)}  {line}"

    def now(self) -> list[str]:
        """Return the lines of the moment: the whole first; none when it is over."""
        if self.state in _WAITING:
            return [f"{self.state:<10}  waits for {_WAITING[self.state]}"]
        if self._progress is None or self.state not in _LIVE:
            return []
        return bars(self._progress, drawn=self._drawn)

    def _event(self, event: "common_pb2.Event") -> Iterator[str]:
        kind = event.WhichOneof("body")
        if kind == "state":
            self.state = formats.word(event.state.to, "OPERATION_STATE")
            yield f"{self.state}  {event.state.message}".rstrip()
        elif kind == "progress":
            self._progress = event.progress
        elif kind == "warning":
            yield f"warning: {event.warning.message}"
        elif kind == "log":
            yield from self._log(event.log)

    def _log(self, line: "common_pb2.LogLine") -> Iterator[str]:
        from ingot.v1 import common_pb2

        level = formats.word(common_pb2.LogLevel.Name(line.level), "LOG_LEVEL")
        if level in self._loud:
            text = line.text.rstrip()
            yield text if level == "info" else f"{level}: {text}"


def bars(progress: "common_pb2.Progress", *, drawn: bool) -> list[str]:
    """Return progress as lines: the whole, and each file in flight."""
    lines = [_whole(progress, drawn=drawn)]
    widest = min(max((formats.width(each.path) for each in progress.files), default=0), _PATH_COLUMNS)
    for file in progress.files:
        path = _shortened(file.path)
        share = file.done / file.total if file.total else 0.0
        picture = f"{cells(share)}  " if drawn and file.total else ""
        amount = f"{formats.size(file.done)} of {formats.size(file.total)}"
        gap = " " * (widest - formats.width(path))
        lines.append(f"  {path}{gap}  {picture}{amount if file.total else formats.size(file.done)}")
    return lines


def state_of(operation: "operations_pb2.Operation") -> str:
    """Return the state of an operation in a word."""
    from ingot.v1 import operations_pb2 as pb

    return formats.word(pb.OperationState.Name(operation.state), "OPERATION_STATE")


def what(operation: "operations_pb2.Operation") -> str:
    """Return what an operation does in a few words: `import models/ada/tiny`."""
    return f"{operation.kind} {named.short(operation.target)}".rstrip()


def bare(operation: str) -> str:
    """Return `op_12` for a long name."""
    return operation.removeprefix("operations/")


def amount(progress: "common_pb2.Progress") -> str:
    """Return how much is done of how much, in the unit that is counted."""
    done, total = progress.done, progress.total
    if not done and not total:
        return ""
    if progress.unit == "bytes":
        return f"{formats.size(done)} of {formats.size(total)}" if total else formats.size(done)
    of = f" of {formats.count(total)}" if total else ""
    return f"{formats.count(done)}{of} {progress.unit}".rstrip()


def values(found: Mapping[str, object], indent: str = "") -> str:
    """Return JSON values as lines, without empty ones; of a list of things only how many there are."""
    lines: list[str] = []
    for key, value in sorted(found.items()):
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", values(value, f"{indent}  ")] if value else []
        elif isinstance(value, list):
            plain = [_value(each) for each in value if not isinstance(each, Mapping | list)]
            text = ", ".join(plain) if len(plain) == len(value) else formats.count(len(value))
            lines += [f"{indent}{key} = {text}"] if value else []
        elif value != "":
            lines.append(f"{indent}{key} = {_value(value)}")
    return "\n".join(line for line in lines if line)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:g}"
    return str(value)


def _whole(progress: "common_pb2.Progress", *, drawn: bool) -> str:
    parts = [f"{progress.phase or 'working':<10}"]
    if progress.total:
        parts += [cells(progress.percent / 100)] if drawn else []
        parts.append(f"{progress.percent:3.0f}%")
    parts += [amount(progress)] if amount(progress) else []
    if progress.rate:
        rate = formats.size(progress.rate) if progress.unit == "bytes" else formats.count(progress.rate)
        parts.append(f"{rate}/s")
    if progress.HasField("eta"):
        parts.append(f"{formats.duration(progress.eta)} left")
    if progress.message and not progress.files:
        parts.append(progress.message)
    return "  ".join(parts).rstrip()


def _shortened(path: str) -> str:
    """Return the end of a long path, which tells more than its beginning."""
    if formats.width(path) <= _PATH_COLUMNS:
        return path
    while formats.width(path) > _PATH_COLUMNS - 1:
        path = path[1:]
    return f"…{path}"
