"""The form of what workers report: numbers that mean something, names on one line, texts of bounded size.

Values of metrics may be NaN or infinite: that is how a training that diverges looks, and the log tells it.
"""

import math
from collections.abc import Sequence

from ingot.server.core import texts
from ingot.server.core.errors import Invalid, Reason, invalid_field
from ingot.server.core.events import (
    LARGEST_BATCH,
    LARGEST_LOG_LINE,
    LogLine,
    Metrics,
    Progress,
    WarningNote,
)
from ingot.server.core.training import JobState, ResumeCertificate
from ingot.server.core.workers import ReportedEvent, TextPiece

_LONGEST_WORD, _LONGEST_NAME, _LONGEST_MESSAGE = 100, 200, 4096
_MOST_SERIES = 1000  # numbers in one event
_LATEST_TIME = 253_402_300_799.0  # end of the year 9999, where timestamps end
_LONGEST_SPAN = 315_576_000_000.0  # seconds, where durations end


def check(events: Sequence[ReportedEvent], *, text: bool) -> None:
    """Check the form of a batch; `text` for a generation. Raises Invalid (FIELD_INVALID, BAD_LENGTH)."""
    if len(events) > LARGEST_BATCH:
        raise invalid_field("events", f"expected at most {LARGEST_BATCH} events, got {len(events)}")
    last = 0
    for position, each in enumerate(events):
        where = f"events[{position}]"
        if each.producer_seq <= last:
            raise invalid_field(
                f"{where}.producer_seq", f"expected a number above {last}, got {each.producer_seq}"
            )
        last = each.producer_seq
        _number(f"{where}.time", each.time, _LATEST_TIME)
        if isinstance(each.body, TextPiece) is not text:
            raise invalid_field(where, "text belongs to a generation, and everything else to a training job")
        _check_body(where, each)


def _check_body(where: str, event: ReportedEvent) -> None:
    match event.body:
        case JobState() as state:
            if state not in (JobState.PREPARING, JobState.RUNNING):
                raise invalid_field(f"{where}.state", f"expected PREPARING or RUNNING, got {state}")
        case Progress() as progress:
            _check_progress(f"{where}.progress", progress)
        case Metrics() as metrics:
            _check_metrics(f"{where}.metrics", metrics)
        case LogLine() as line:
            if line.rank < -1:
                raise invalid_field(
                    f"{where}.log.rank", f"expected -1 for the agent or a rank, got {line.rank}"
                )
            _check_size(f"{where}.log", line.text)
        case WarningNote() as warning:
            _check_size(f"{where}.warning", warning.message)
        case ResumeCertificate() as certificate:
            where = f"{where}.resume_certificate"
            _number(f"{where}.step", certificate.step)
            texts.line(f"{where}.checkpoint", certificate.checkpoint, _LONGEST_NAME)
            texts.line(f"{where}.digest", certificate.digest, _LONGEST_NAME)
            texts.text(f"{where}.reason", certificate.reason, _LONGEST_MESSAGE)
        case TextPiece():
            pass  # a piece of text is whatever the model wrote


def _check_progress(where: str, progress: Progress) -> None:
    texts.line(f"{where}.phase", progress.phase, _LONGEST_WORD)
    texts.line(f"{where}.unit", progress.unit, _LONGEST_WORD)
    texts.text(f"{where}.message", progress.message, _LONGEST_MESSAGE)
    _number(f"{where}.done", progress.done)
    _number(f"{where}.total", progress.total)
    _number(f"{where}.percent", progress.percent, 100.0)
    _number(f"{where}.rate", progress.rate)
    _number(f"{where}.eta", progress.eta or 0.0, _LONGEST_SPAN)


def _check_metrics(where: str, metrics: Metrics) -> None:
    _number(f"{where}.step", metrics.step)
    _number(f"{where}.epoch", metrics.epoch)
    if len(metrics.values) > _MOST_SERIES:
        raise invalid_field(
            f"{where}.values", f"expected at most {_MOST_SERIES} numbers, got {len(metrics.values)}"
        )
    for name in metrics.values:
        if not texts.line(f"{where}.values", name, _LONGEST_NAME):
            raise invalid_field(f"{where}.values", f"expected a name for each number, got {name!r}")


def _number(field: str, value: float, most: float = math.inf) -> None:
    """Refuse what is negative, not finite, or above `most`."""
    if not math.isfinite(value) or not 0 <= value <= most:
        above = "" if most == math.inf else f" and at most {most:g}"
        raise invalid_field(field, f"expected a finite number, 0 or more{above}, got {value:g}")


def _check_size(where: str, value: str) -> None:
    size = len(value.encode())
    if size > LARGEST_LOG_LINE:
        raise Invalid(
            Reason.BAD_LENGTH,
            f"{where}: expected at most {LARGEST_LOG_LINE} bytes of text, got {size}.",
            next_step="Cut it into several events.",
            facts={"field": where, "size": str(size)},
        )
