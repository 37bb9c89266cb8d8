"""The memo of a pickle: what it has put aside under numbers to use again, as far as that matters.

A vocabulary of a million words is a million entries, so old ones are forgotten. What imports and arrays need
is kept: classes, dtypes, and the texts that were names of something imported, which are put aside right
before they are used.
"""

from collections import deque

from ingot.server.formats.pickle_pieces import Damaged
from ingot.server.formats.pickle_values import (
    INSTANCE,
    MADE,
    UNTOLD,
    DataType,
    Fields,
    Import,
    Value,
    Wrapper,
)

MOST_LASTING = 50_000
MOST_RECENT = 10_000
MOST_SCATTERED = 100_000
_LASTING = (Import, DataType)
_RECENT = (str, Wrapper, Fields, tuple)
_JUST_PUT = 4  # at least the two names of an import


class Memo:
    """What one pickle has put aside."""

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._lasting: dict[int, Value] = {}
        self._recent: dict[int, Value] = {}
        self._older: dict[int, Value] = {}
        self._just_put: deque[tuple[int, Value]] = deque(maxlen=_JUST_PUT)
        self._absent: Value = UNTOLD  # a number that is not here: nothing, or a value that is no name

    def __len__(self) -> int:
        """Return how many numbers are taken: the next one of MEMOIZE."""
        return len(self._numbers)

    def put(self, number: int, value: Value) -> None:
        """Put a value aside. Raises Damaged when the numbers are in no order."""
        self._numbers.add(number)
        self._lasting.pop(number, None)
        self._older.pop(number, None)
        self._recent.pop(number, None)
        self._just_put.append((number, value))
        if isinstance(value, _LASTING):
            self._keep(number, value)
        elif isinstance(value, _RECENT) or value is MADE or value is INSTANCE:
            self._recent[number] = value
            if len(self._recent) >= MOST_RECENT:
                if self._older:
                    self._absent = MADE
                self._older, self._recent = self._recent, {}

    def get(self, number: int) -> Value:
        """Return what is under a number; MADE, which may be anything, when that was forgotten."""
        for kept in (self._recent, self._lasting, self._older):
            if number in kept:
                return kept[number]
        return self._absent

    def named(self, *names: str) -> None:
        """Keep what was just put aside, if it is one of these: it was the name of something imported."""
        for number, value in self._just_put:
            if any(value is each for each in names):
                self._keep(number, value)

    def _keep(self, number: int, value: Value) -> None:
        if len(self._lasting) < MOST_LASTING:
            self._lasting[number] = value
        else:
            self._absent = MADE


class _Numbers:
    """The numbers that are taken. Most come in a row."""

    def __init__(self) -> None:
        self._first = self._next = 0
        self._others: set[int] = set()

    def __len__(self) -> int:
        return self._next - self._first + len(self._others)

    def add(self, number: int) -> None:
        """Take a number, which may be taken. Raises Damaged when too many are in no order."""
        if not len(self):
            self._first = self._next = number
        if number == self._next:
            self._next += 1
            while self._next in self._others:
                self._others.remove(self._next)
                self._next += 1
        elif not self._first <= number < self._next:
            self._others.add(number)
            if len(self._others) > MOST_SCATTERED:
                raise Damaged("The memo has too many numbers in no order.", "pickle_too_deep")
