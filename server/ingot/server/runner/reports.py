"""What a body says on its pipe, taken in so that nothing it says can hurt the server.

Lines are cut at LARGEST_LINE, their number is limited in time (the pipe fills up and the body waits), log
lines are limited in number between two beats, and every number and text is brought within what can be stored.
A line that is no report is counted and told once; only a report is a sign of life.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator

import pydantic

from ingot.server.core.body_protocol import Report, ReportedProblem, ReportedProgress
from ingot.server.core.errors import Reason
from ingot.server.core.events import (
    LARGEST_BATCH,
    LARGEST_LOG_LINE,
    FileProgress,
    LogLevel,
    LogLine,
    Progress,
)
from ingot.server.runner.seams import Ending, Failed, Quit, Succeeded, Told

LARGEST_LINE = 16 * 1024 * 1024  # bytes; a result is one line
LINES_A_SECOND = 2000
BYTES_A_SECOND = 32 * 1024 * 1024
_READ = 64 * 1024
_SLICE = 100  # lines between two turns of the event loop
_LARGEST_NUMBER = 2**63 - 1
_LONGEST_TEXT = 4000
_MOST_FACTS = 50
_MOST_FILES = 8


class Lines:
    """Cuts bytes into lines; a line that is too long is dropped and counted."""

    def __init__(self, largest: int = LARGEST_LINE) -> None:
        self._largest = largest
        self._rest = bytearray()
        self._skipping = False
        self.dropped = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that are whole now, without their ends."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            piece, start = data[start:end], end + 1
            if self._skipping:
                self._skipping = False
            elif len(self._rest) + len(piece) > self._largest:
                self.dropped += 1
                self._rest.clear()
            else:
                yield bytes(self._rest) + piece
                self._rest.clear()
        if self._skipping:
            return
        self._rest += data[start:]
        if len(self._rest) > self._largest:
            self._rest.clear()
            self._skipping = True
            self.dropped += 1


class Telling:
    """Keeps what a body told until it is asked for."""

    def __init__(self) -> None:
        self.signs = 0
        self.ending: Ending | None = None
        self._progress: Progress | None = None
        self._lines: list[LogLine] = []
        self._lost = 0
        self._bad = 0

    def hear(self, line: bytes) -> None:
        """Take in one line."""
        try:
            report = Report.model_validate_json(line)
        except pydantic.ValidationError as error:
            self._bad += 1
            if self._bad == 1:
                first = error.errors(include_url=False, include_input=False)[0]
                self._say(LogLevel.WARNING, f"The body said something that is no report: {first['msg']}")
            return
        self.signs += 1
        if report.progress is not None:
            self._progress = progress_of(report.progress)
        if report.log is not None:
            self._say(LogLevel[report.log.level.upper()], report.log.text)
        if report.result is not None:
            self.ending = Succeeded(report.result)
        elif report.problem is not None:
            self.ending = Failed(report.problem)
        elif report.cancelled:
            self.ending = Quit()

    def take(self) -> Told:
        """Return what was told since the last call."""
        if self._lost:
            self._lines.append(LogLine(LogLevel.WARNING, 0, f"{self._lost} more lines were left out"))
        told = Told(self._progress, tuple(self._lines))
        self._progress, self._lines, self._lost = None, [], 0
        return told

    def _say(self, level: LogLevel, text: str) -> None:
        if len(self._lines) >= LARGEST_BATCH - 1:
            self._lost += 1
        else:
            self._lines.append(LogLine(level, 0, _cut(text, LARGEST_LOG_LINE)))


async def listen(reader: asyncio.StreamReader, telling: Telling, over: asyncio.Event) -> None:
    """Take in everything that comes until the pipe ends, at a bounded rate until `over` is set."""
    lines = Lines()
    began, count, size = time.monotonic(), 0, 0
    while data := await reader.read(_READ):
        size += len(data)
        for line in lines.feed(data):
            telling.hear(line)
            count += 1
            if count % _SLICE == 0:
                await asyncio.sleep(0)
        spent = time.monotonic() - began
        if spent >= 1.0:
            began, count, size = time.monotonic(), 0, 0
        elif (count > LINES_A_SECOND or size > BYTES_A_SECOND) and not over.is_set():
            with contextlib.suppress(TimeoutError):  # until the body or the second ends
                async with asyncio.timeout(1.0 - spent):
                    await over.wait()


def progress_of(told: ReportedProgress) -> Progress:
    """Return progress with every number and text within its bounds."""
    return Progress(
        phase=_cut(told.phase, 100),
        done=_count(told.done),
        total=_count(told.total),
        unit=_cut(told.unit, 100),
        percent=min(_number(told.percent), 100.0),
        rate=_number(told.rate),
        eta=None if told.eta is None or not math.isfinite(told.eta) else _number(told.eta),
        message=_cut(told.message, _LONGEST_TEXT),
        files=tuple(
            FileProgress(_cut(each.path, _LONGEST_TEXT), _count(each.done), _count(each.total))
            for each in told.files[:_MOST_FILES]
        ),
    )


def reason_of(problem: ReportedProblem) -> Reason:
    """Return the reason of a problem; INTERNAL for one that nobody knows."""
    return Reason(problem.reason) if problem.reason in Reason.__members__ else Reason.INTERNAL


def bounded(problem: ReportedProblem) -> ReportedProblem:
    """Return a problem with every text within its bounds."""
    facts = dict(list(problem.facts.items())[:_MOST_FACTS])
    wait = problem.retry_after
    return ReportedProblem(
        reason=reason_of(problem).value,
        message=_cut(problem.message, _LONGEST_TEXT),
        facts={_cut(key, 100): _cut(value, _LONGEST_TEXT) for key, value in facts.items()},
        next_step=_cut(problem.next_step, _LONGEST_TEXT),
        retry=problem.retry,
        retry_after=None if wait is None else min(_number(wait), 24 * 3600.0),
    )


def _cut(text: str, longest: int) -> str:
    """Return a text that has at most so many bytes and can be stored and sent."""
    data = text.encode("utf-8", "replace")
    return data[:longest].decode("utf-8", "ignore")


def _count(value: int) -> int:
    return min(max(value, 0), _LARGEST_NUMBER)


def _number(value: float) -> float:
    return max(value, 0.0) if math.isfinite(value) else 0.0
