"""What is read from the files of a version to show it: a summary of its content, and rows of its data.

Reading is bounded by an `Allowance`: so many bytes and so much time for one question, whoever asks and
whatever the files are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ingot.server.core.clock import Clock
from ingot.server.core.facts import VersionFacts
from ingot.server.core.json_values import JsonValue
from ingot.server.core.names import VersionName


class TooCostly(Exception):
    """An answer would take more reading than one question may cause."""


class Allowance:
    """How many bytes may still be read, and until when."""

    def __init__(self, clock: Clock, size: int, seconds: float) -> None:
        self._clock = clock
        self._left = size
        self._until = clock.monotonic() + seconds

    def take(self, count: int) -> None:
        """Count bytes that are about to be read. Raises TooCostly."""
        self._left -= count
        if self._left < 0:
            raise TooCostly("too many bytes")
        self.pause()

    def pause(self) -> None:
        """Look at the time; long computations call it now and then. Raises TooCostly."""
        if self._clock.monotonic() > self._until:
            raise TooCostly("too long")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor of a file."""

    path: str
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ContentFinding:
    """Something in the content that somebody should look at."""

    path: str
    reason: str
    message: str
    byte_offset: int | None = None


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What one file says; `note` is why it is less than its format could tell."""

    path: str
    format: str
    size_bytes: int
    parameters: int = 0
    tensors: int = 0
    dtypes: tuple[str, ...] = ()
    architecture: str = ""
    records: int | None = None
    estimated: bool = False
    columns: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class FormatShare:
    """Files of one format."""

    format: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """What the files of a version say about it."""

    version: VersionName
    digest: bytes
    facts: VersionFacts
    formats: Sequence[FormatShare] = ()
    files: Sequence[FileSummary] = ()
    tensors: Sequence[TensorInfo] = ()
    findings: Sequence[ContentFinding] = ()
    complete: bool = True


class Part(StrEnum):
    """Which rows are shown."""

    FIRST = "FIRST"
    LAST = "LAST"
    RANDOM = "RANDOM"


class Sampling(StrEnum):
    """How random rows were drawn."""

    NONE = "NONE"
    UNIFORM = "UNIFORM"
    BY_OFFSET = "BY_OFFSET"
    FROM_BEGINNING = "FROM_BEGINNING"


@dataclass(frozen=True, slots=True)
class WantedRows:
    """Which rows, and how many of them."""

    part: Part = Part.FIRST
    count: int = 20
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row; `value` where it could be read, else `text` and the problem. `number` from 1, 0 unknown."""

    number: int
    offset: int
    value: JsonValue = None
    text: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """Rows of one file."""

    format: str
    rows: Sequence[Row] = ()
    columns: Sequence[str] = field(default_factory=tuple)
    sampling: Sampling = Sampling.NONE
