"""Figures of calls: how many, how long they took, and why they failed; by day, without names of people.

`Times` is a histogram of fixed, logarithmic steps: 16 for each doubling, so that a percentile is told within
7 %, in bounded space, and figures of several days are added up exactly.
"""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

_STEPS = 16  # for each doubling
_STEP_BITS = 4
_MICRO = 1_000_000
_LONGEST = 1 << 42  # microseconds: 50 days
_PAIR = struct.Struct("<HQ")


@dataclass(slots=True)
class Times:
    """How long things took; the steps that occurred, by their number."""

    steps: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Add one span."""
        self.steps[_step(int(seconds * _MICRO))] += 1

    def add_all(self, other: "Times") -> None:
        """Add what another one has."""
        self.steps.update(other.steps)

    @property
    def count(self) -> int:
        """How many spans were added."""
        return self.steps.total()

    def percentile(self, share: float) -> float:
        """Return the seconds that this share (0 to 1) of the spans took at most; 0 without any."""
        rank = max(1, -int(-share * self.count // 1))
        for step in sorted(self.steps):
            rank -= self.steps[step]
            if rank <= 0:
                return _highest(step) / _MICRO
        return 0.0

    def pack(self) -> bytes:
        """Return it as bytes, for `unpack`."""
        return b"".join(_PAIR.pack(*pair) for pair in sorted(self.steps.items()))

    @classmethod
    def unpack(cls, packed: bytes) -> "Times":
        """Return what `pack` made bytes of; of several one after the other their sum."""
        steps: dict[int, int] = {}
        for step, count in _PAIR.iter_unpack(packed):
            steps[step] = steps.get(step, 0) + count
        return cls(Counter(steps))


def _step(micros: int) -> int:
    """Return the step of a span: below 16 µs each has its own, then 16 for each doubling."""
    micros = min(max(micros, 0), _LONGEST)
    if micros < _STEPS:
        return micros
    shift = micros.bit_length() - 1 - _STEP_BITS
    return (shift << _STEP_BITS) + (micros >> shift)


def _highest(step: int) -> int:
    """Return the longest span of a step, in microseconds."""
    if step < 2 * _STEPS:
        return step
    shift = (step >> _STEP_BITS) - 1
    return ((step - (shift << _STEP_BITS) + 1) << shift) - 1


@dataclass(frozen=True, slots=True)
class CallKey:
    """What figures are kept by."""

    day: int  # since the epoch, UTC
    method: str  # CatalogService/GetArtifact
    code: str  # OK, NOT_FOUND, …


@dataclass(slots=True)
class CallCount:
    """How often, and how long; streams that only follow something have no times."""

    count: int = 0
    seconds: float = 0.0  # of those that have times, together
    times: Times = field(default_factory=Times)

    def add_all(self, other: "CallCount") -> None:
        """Add what another one has."""
        self.count += other.count
        self.seconds += other.seconds
        self.times.add_all(other.times)


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed."""

    reason: str  # ErrorReason
    time: float  # epoch seconds
    code: str
    method: str
    target: str
    principal: str
    message: str
    call_id: str


@dataclass(slots=True)
class CallTotals:
    """Figures that wait to be written."""

    calls: dict[CallKey, CallCount] = field(default_factory=dict)
    failures: Counter[tuple[int, str]] = field(default_factory=Counter)  # by day and reason
    last: dict[str, Failure] = field(default_factory=dict)  # by reason

    def __bool__(self) -> bool:
        return bool(self.calls)

    def add_all(self, later: "CallTotals") -> None:
        """Add figures of a later time."""
        for key, count in later.calls.items():
            self.calls.setdefault(key, CallCount()).add_all(count)
        self.failures.update(later.failures)
        self.last.update(later.last)


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One method over some days."""

    method: str
    codes: Mapping[str, int]
    seconds: float  # together
    times: Times

    @property
    def count(self) -> int:
        """How many calls there were."""
        return sum(self.codes.values())


@dataclass(frozen=True, slots=True)
class ProblemFigures:
    """How often calls failed for a reason: over some days by day, ever, and the last one."""

    count: int
    days: Mapping[int, int]
    total: int
    last: Failure


class CallFiguresStore(Protocol):
    """Rows of figures by day; called inside a unit of work."""

    def add(self, totals: CallTotals) -> None:
        """Add figures to those of their days."""
        ...

    def methods(self, first: int, last: int) -> Sequence[MethodFigures]:
        """Return the figures of the days from `first` to `last`, by method in the order of their names."""
        ...

    def days(self, first: int, last: int) -> Mapping[int, int]:
        """Return how many calls there were on each of these days; days without any are left out."""
        ...

    def problems(self, first: int, last: int) -> Sequence[ProblemFigures]:
        """Return the reasons for which calls failed on these days, the most frequent first."""
        ...
