"""Bodies inside the server: upkeep of the shelf, in steps so small that nobody's call waits for them.

async def collect(work: ShelfWork) -> JsonObject:
    while page := await hops.read(…):
        await work.step()                       # raises Stopped when it is to end here
        work.progress(Progress(phase="collecting", done=…))
    return {…}

shelf.add("collect", collect)
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.body_protocol import ReportedProblem
from ingot.server.core.errors import IngotError, Reason
from ingot.server.core.events import LogLevel, LogLine, Progress
from ingot.server.core.operations import Operation
from ingot.server.runner.seams import NOT_NOW, Ending, Failed, Quit, Succeeded, Told

log = logging.getLogger(__name__)

_MOST_LINES = 1000


class Stopped(Exception):
    """The work is to end here, between two steps."""


class ShelfWork:
    """One attempt of one operation, as its handler sees it."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self._stopping = False
        self._progress: Progress | None = None
        self._lines: list[LogLine] = []

    def cancelled(self) -> bool:
        """Return whether somebody asked to stop, or the server stops."""
        return self._stopping

    async def step(self) -> None:
        """Let others have their turn. Raises Stopped when the work is to end here."""
        if self._stopping:
            raise Stopped
        await asyncio.sleep(0)

    def progress(self, progress: Progress) -> None:
        """Tell how far it is; cheap."""
        self._progress = progress

    def log(self, text: str, level: LogLevel = LogLevel.INFO) -> None:
        """Add a line to the operation's log."""
        if len(self._lines) < _MOST_LINES:
            self._lines.append(LogLine(level, 0, text))

    def ask_to_stop(self) -> None:
        """Let the next step raise Stopped."""
        self._stopping = True

    def take(self) -> Told:
        """Return what was told since the last call."""
        told = Told(self._progress, tuple(self._lines))
        self._progress, self._lines = None, []
        return told


ShelfHandler = Callable[[ShelfWork], Awaitable[JsonObject]]


class ShelfBodies:
    """Starts bodies inside the server; implements Bodies."""

    def __init__(self) -> None:
        self._handlers: dict[str, ShelfHandler] = {}

    def add(self, kind: str, handler: ShelfHandler) -> None:
        """Let `handler` do the work of a kind."""
        self._handlers[kind] = handler

    def kinds(self) -> set[str]:
        """Return the kinds that have a handler."""
        return set(self._handlers)

    async def start(self, operation: Operation) -> "ShelfBody":
        """Start the handler of a claimed operation."""
        work = ShelfWork(operation)
        return ShelfBody(work, asyncio.ensure_future(self._handlers[operation.kind](work)))


class ShelfBody:
    """A handler at work."""

    def __init__(self, work: ShelfWork, task: "asyncio.Future[JsonObject]") -> None:
        self._work = work
        self._task = task

    async def ended(self) -> Ending:
        """Wait for its end and return it."""
        await asyncio.wait({self._task})
        if self._task.cancelled():
            return Quit()
        error = self._task.exception()
        if error is None:
            return Succeeded(self._task.result())
        if isinstance(error, Stopped):
            return Quit()
        log.error("operation.body_raised name=%s", self._work.operation.name, exc_info=error)
        return Failed(_problem(self._work.operation, error))

    def signs(self) -> int | None:
        """Return None: it lives on the event loop that asks."""
        return None

    def take(self) -> Told:
        """Return what it told since the last call."""
        return self._work.take()

    def stop(self) -> None:
        """Ask it to stop at its next step."""
        self._work.ask_to_stop()

    def kill(self) -> None:
        """Cancel it wherever it waits; a write that runs already runs to its end."""
        self._task.cancel()


def _problem(operation: Operation, error: BaseException) -> ReportedProblem:
    if isinstance(error, IngotError):
        return ReportedProblem(
            reason=error.reason.value,
            message=error.message,
            facts=dict(error.facts),
            next_step=error.next_step,
            retry=isinstance(error, NOT_NOW),
            retry_after=error.retry_after,
        )
    return ReportedProblem(
        reason=Reason.INTERNAL.value,
        message=f"{operation.kind} failed with {type(error).__name__}.",
        facts={"kind": operation.kind},
        next_step="The server's log has the whole story.",
        retry=True,
    )
