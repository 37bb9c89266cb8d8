"""Wire ↔ core for what several services share: times, problems, progress, events."""

from google.protobuf import duration_pb2, timestamp_pb2

from ingot.server.core.errors import Problem, Reason, invalid_field
from ingot.server.core.events import (
    CheckpointNote,
    Event,
    LogLevel,
    LogLine,
    Metrics,
    Progress,
    StateChange,
    WarningNote,
)
from ingot.v1 import common_pb2, errors_pb2

_REASON = "ERROR_REASON_"
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds: the years 1 to 9999, as Timestamp has them


def timestamp(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    """Return epoch seconds as a message; None stays unset."""
    if seconds is None:
        return None
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return timestamp_pb2.Timestamp(seconds=whole, nanos=micros * 1000)


def set_time(message: timestamp_pb2.Timestamp, seconds: float) -> None:
    """Set a time that is part of another message to epoch seconds."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    message.seconds = whole
    message.nanos = micros * 1000


def duration(seconds: float | None) -> duration_pb2.Duration | None:
    """Return a span of seconds as a message; None stays unset."""
    if seconds is None:
        return None
    message = duration_pb2.Duration()
    message.FromMicroseconds(round(seconds * 1e6))
    return message


def time_of(message: timestamp_pb2.Timestamp) -> float:
    """Return epoch seconds."""
    return message.seconds + message.nanos / 1e9


def date_of(message: timestamp_pb2.Timestamp, field: str) -> float:
    """Return epoch seconds that are a date too. Raises Invalid (FIELD_INVALID) for years beyond 1 to 9999."""
    # Both are looked at: near the end a fraction rounds up into the year 10000.
    if not (_FIRST <= message.seconds <= _LAST and _FIRST <= time_of(message) <= _LAST):
        got = f"{message.seconds} s and {message.nanos} ns from 1970"
        raise invalid_field(field, f"expected a time in the years 1 to 9999, got {got}")
    return time_of(message)


def seconds_of(message: duration_pb2.Duration) -> float:
    """Return a span in seconds."""
    return message.seconds + message.nanos / 1e9


def reason(value: Reason) -> errors_pb2.ErrorReason.ValueType:
    """Return a reason as the enum of the wire."""
    return errors_pb2.ErrorReason.Value(_REASON + value.value)


def reason_of(value: errors_pb2.ErrorReason.ValueType) -> Reason:
    """Return the reason of an enum value; one that is unset or unknown here becomes INTERNAL."""
    name = errors_pb2.ErrorReason.Name(value) if value in errors_pb2.ErrorReason.values() else ""
    word = name.removeprefix(_REASON)
    return Reason(word) if word in Reason.__members__ else Reason.INTERNAL


def problem(found: Problem | None) -> common_pb2.Problem | None:
    """Return a stored failure as a message."""
    if found is None:
        return None
    return common_pb2.Problem(
        reason=reason(found.reason),
        message=found.message,
        facts=dict(found.facts),
        next_step=found.next_step,
        time=timestamp(found.time),
    )


def problem_of(message: common_pb2.Problem, now: float, field: str) -> Problem:
    """Return a failure that a client tells of in a field; `now` dates it when it has no time.

    Raises Invalid (FIELD_INVALID).
    """
    return Problem(
        reason_of(message.reason),
        message.message,
        dict(message.facts),
        message.next_step,
        date_of(message.time, f"{field}.time") if message.HasField("time") else now,
    )


def progress(found: Progress | None) -> common_pb2.Progress | None:
    """Return progress as a message."""
    if found is None:
        return None
    return common_pb2.Progress(
        phase=found.phase,
        done=found.done,
        total=found.total,
        unit=found.unit,
        percent=found.percent,
        rate=found.rate,
        eta=duration(found.eta),
        message=found.message,
        files=[
            common_pb2.FileProgress(path=path, done=done, total=total) for path, done, total in found.files
        ],
    )


def progress_of(message: common_pb2.Progress) -> Progress:
    """Return reported progress."""
    return Progress(
        phase=message.phase,
        done=message.done,
        total=message.total,
        unit=message.unit,
        percent=message.percent,
        rate=message.rate,
        eta=seconds_of(message.eta) if message.HasField("eta") else None,
        message=message.message,
    )


def metrics(found: Metrics | None) -> common_pb2.Metrics | None:
    """Return numbers of a step as a message."""
    if found is None:
        return None
    return common_pb2.Metrics(step=found.step, epoch=found.epoch, values=dict(found.values))


def metrics_of(message: common_pb2.Metrics) -> Metrics:
    """Return reported numbers."""
    return Metrics(message.step, message.epoch, dict(message.values))


def log_line(found: LogLine) -> common_pb2.LogLine:
    """Return a piece of a log as a message."""
    level = common_pb2.LogLevel.Value(f"LOG_LEVEL_{found.level.name}")
    return common_pb2.LogLine(level=level, rank=found.rank, text=found.text)


def log_line_of(message: common_pb2.LogLine) -> LogLine:
    """Return a reported piece of a log; without a level it is of the normal course."""
    return LogLine(level_of(message.level) or LogLevel.INFO, message.rank, message.text)


def level_of(value: common_pb2.LogLevel.ValueType) -> LogLevel | None:
    """Return a level; None when it is unset or unknown."""
    known = {each.value for each in LogLevel}
    return LogLevel(value) if int(value) in known else None


def warning_of(message: common_pb2.Warning) -> WarningNote:
    """Return a reported oddity."""
    return WarningNote(reason_of(message.reason), message.message)


def event(found: Event) -> common_pb2.Event:
    """Return an event as a message."""
    message = common_pb2.Event(
        seq=found.seq,
        time=timestamp(found.time),
        attempt=found.attempt,
        producer_seq=found.producer_seq,
    )
    match found.body:
        case StateChange(before, after, text):
            message.state.CopyFrom(common_pb2.StateChange(**{"from": before, "to": after, "message": text}))
        case Progress() as body:
            message.progress.MergeFrom(progress(body) or common_pb2.Progress())
        case Metrics() as body:
            message.metrics.MergeFrom(metrics(body) or common_pb2.Metrics())
        case LogLine() as body:
            message.log.CopyFrom(log_line(body))
        case CheckpointNote(name, step, digest, kind):
            message.checkpoint.CopyFrom(
                common_pb2.CheckpointNote(name=name, step=step, digest=digest, kind=kind)
            )
        case WarningNote(why, text):
            message.warning.CopyFrom(common_pb2.Warning(reason=reason(why), message=text))
    return message


def heartbeat(latest_seq: int, now: float) -> common_pb2.Heartbeat:
    """Return the sign of life of a stream."""
    return common_pb2.Heartbeat(latest_seq=latest_seq, time=timestamp(now))
