"""How the server and the body of an operation speak: a spec on the way in, lines of JSON on the way out.

A body that touches the outside world runs in a process of its own (`python -m ingot.server.bodies`). It reads
one `BodySpec` as JSON from stdin until its end, and writes one `Report` a line to the file descriptor that
INGOT_REPORTS names. Its stdout and stderr are its log file. It is a client of the server like any other, with
the token of its attempt.

It must report something (an empty report will do) at least every BEAT_SECONDS: silence means frozen. SIGTERM
asks it to stop. Its last report has `result` or `problem`; a process that ends without either is lost.
"""

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ingot.server.core.errors import Reason
from ingot.server.core.events import FileProgress

REPORTS = "INGOT_REPORTS"  # environment variable with the number of the file descriptor
BEAT_SECONDS = 1.0


class BodySpec(BaseModel):
    """Everything a body needs to know; it holds secrets, so it is never logged or stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: str  # operations/op_12
    attempt: int
    kind: str
    target: str
    requester: str
    params: dict[str, JsonValue]
    server: str  # address of the server: unix:/…
    token: str = Field(repr=False)
    folder: str  # its own; what is left there is there in the next attempt
    log: str = ""  # file of its output, named to whoever is told that it failed unexpectedly
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)  # by host
    settings: dict[str, str | int | float | bool | tuple[str, ...]] = Field(default_factory=dict)

    @property
    def hidden(self) -> tuple[str, ...]:
        """What nobody is to read in logs and reports: its secrets, and what follows the paths of its URLs."""
        return (self.token, *self.secrets.values(), *_behind_paths(self.params))


def _behind_paths(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _behind_paths(each)
    elif isinstance(value, list):
        for each in value:
            yield from _behind_paths(each)
    elif isinstance(value, str) and value.startswith(("https://", "http://")):
        found = re.search(r"[?#](.{8,})", value)
        if found is not None:
            yield found[1]


class ReportedProgress(BaseModel):
    """How far it is, as Progress of the API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    percent: float = 0.0
    rate: float = 0.0
    eta: float | None = None
    message: str = ""
    files: tuple[FileProgress, ...] = ()  # that are being worked on right now, at most 8


class ReportedLine(BaseModel):
    """A line for the operation's log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = "info"
    text: str


class ReportedProblem(BaseModel):
    """Why it failed; `retry` says whether another attempt may help."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str
    message: str
    facts: dict[str, str] = Field(default_factory=dict)
    next_step: str = ""
    retry: bool = False
    retry_after: float | None = None  # seconds, when the source told


def out_of_memory(limit: int) -> ReportedProblem:
    """Return the problem of a body that wanted more memory than it may take, in bytes."""
    return ReportedProblem(
        reason=Reason.OUT_OF_MEMORY.value,
        message=f"It needed more memory than the {limit} bytes that one operation may take.",
        facts={"limit": str(limit), "setting": "body_memory_bytes"},
        next_step="Do it in smaller parts, or raise body_memory_bytes in the settings of the server.",
    )


class Report(BaseModel):
    """One line; an empty one is a beat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    progress: ReportedProgress | None = None
    log: ReportedLine | None = None
    result: dict[str, JsonValue] | None = None
    problem: ReportedProblem | None = None
    cancelled: bool = False  # it stopped because it was asked to
