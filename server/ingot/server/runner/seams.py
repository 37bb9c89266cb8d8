"""What the runner is given and what its parts say to each other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.body_protocol import ReportedProblem
from ingot.server.core.errors import (
    Conflict,
    Exhausted,
    IngotError,
    Problem,
    Reason,
    TooSlow,
    Unavailable,
)
from ingot.server.core.events import LogLine, Progress
from ingot.server.core.operations import Operation

P = ParamSpec("P")
T = TypeVar("T")

NOT_NOW = (Unavailable, Exhausted, TooSlow, Conflict)  # what fails so may go well later


class Hops(Protocol):
    """Carries calls of the event loop to the threads that may wait; rpc/hops.py has it."""

    async def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a read transaction."""
        ...

    async def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a write transaction; return once it is durable."""
        ...

    async def io(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn`, which touches files and no rows."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the runner waits for what; in seconds."""

    lease: float = 20.0  # a body may be silent
    grace: float = 10.0  # a body that was asked to stop may go on
    poll: float = 5.0  # at the latest the rows are looked at again, in case a hint was lost

    @property
    def tick(self) -> float:
        """Time between two looks at a running body."""
        return min(self.lease / 5, 0.5)

    @property
    def beat(self) -> float:
        """Time after which a lease is extended."""
        return self.lease / 4

    @property
    def round(self) -> float:
        """Time between two looks at lost claims and periodic operations."""
        return min(self.lease / 4, 5.0)


NOTE_SECONDS = 1.0  # progress and log lines are stored at most this often


# --- how a body ends ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It has a result."""

    result: JsonObject


@dataclass(frozen=True, slots=True)
class Failed:
    """It says why it failed."""

    problem: ReportedProblem


@dataclass(frozen=True, slots=True)
class Quit:
    """It stopped and says that it was asked to."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """It ended without a word; `how` tells how, the facts hold the end of its output."""

    how: str
    facts: dict[str, str]


Ending = Succeeded | Failed | Quit | Vanished


@dataclass(frozen=True, slots=True)
class Told:
    """What a body told since it was last asked."""

    progress: Progress | None = None
    lines: tuple[LogLine, ...] = ()


def may_pass(error: Exception) -> bool:
    """Return whether a write that failed so is to be tried again, or is another attempt's by now."""
    outdated = isinstance(error, IngotError) and error.reason is Reason.ATTEMPT_OUTDATED
    return outdated or isinstance(error, Exhausted | TooSlow | Unavailable)


def unheard(operation: Operation, error: BaseException, now: float) -> Problem:
    """Return the problem of an operation that is given up since a feature fails when it hears of it."""
    return Problem(
        Reason.INTERNAL,
        f"{operation.name} ({operation.kind}) was given up: what depends on it failed with "
        f"{type(error).__name__} when it was told of it.",
        {"operation": operation.name},
        "The server's log has the whole story; retry it when the cause is mended.",
        now,
    )


class Body(Protocol):
    """The work of one attempt while it runs."""

    async def ended(self) -> Ending:
        """Wait for its end and return it; nothing of it runs any more then."""
        ...

    def signs(self) -> int | None:
        """Return the number of its signs of life so far; None when it cannot be silent."""
        ...

    def take(self) -> Told:
        """Return what it told since the last call."""
        ...

    def stop(self) -> None:
        """Ask it to stop."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Bodies(Protocol):
    """A place where bodies run."""

    async def start(self, operation: Operation) -> Body:
        """Start the body of a claimed operation."""
        ...
