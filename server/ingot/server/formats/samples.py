"""Sample rows of a file: the first, the last, and some drawn evenly from all of it.

The draw is a reservoir with a fixed seed (Vitter's algorithm L, which leaps from one drawn row to the next),
so the same file gives the same sample.
"""

import math
import random
from collections.abc import Sequence

ENDS = 3
DRAWN = 5
_SHOWN = 1000  # characters of a row
_SEED = 20260101


class Samples:
    """Takes the rows of a file in order."""

    def __init__(self) -> None:
        self._random = random.Random(_SEED)
        self._first: list[tuple[int, bytes]] = []
        self._last: list[tuple[int, bytes]] = []
        self._drawn: list[tuple[int, bytes]] = []
        self._count = 0
        self._weight = 1.0
        self._next = DRAWN

    def add(self, rows: Sequence[bytes], numbers: Sequence[int]) -> None:
        """Take rows with their numbers."""
        begin = self._count
        self._count += len(rows)
        for index in range(min(len(rows), max(0, ENDS - begin))):
            self._first.append((numbers[index], rows[index]))
        tail = range(max(0, len(rows) - ENDS), len(rows))
        self._last = [*self._last, *((numbers[index], rows[index]) for index in tail)][-ENDS:]
        for index in range(min(len(rows), max(0, DRAWN - begin))):
            self._drawn.append((numbers[index], rows[index]))
            if len(self._drawn) == DRAWN:
                self._leap(DRAWN - 1)
        while len(self._drawn) == DRAWN and self._next < self._count:
            index = self._next - begin
            self._drawn[self._random.randrange(DRAWN)] = (numbers[index], rows[index])
            self._leap(self._next)

    def document(self) -> dict[str, object]:
        """Return them as JSON: row and text, cut to a readable length."""
        return {
            "first": [_shown(each) for each in self._first],
            "last": [_shown(each) for each in self._last],
            "random": [_shown(each) for each in sorted(self._drawn)],
        }

    def _leap(self, index: int) -> None:
        self._weight *= math.exp(math.log(1.0 - self._random.random()) / DRAWN)
        # 1 - weight is 0 only before the first draw, which multiplies weight by less than 1.
        step = math.log(1.0 - self._random.random()) / math.log1p(-min(self._weight, 1.0 - 1e-12))
        self._next = index + 1 + math.floor(step)


def _shown(row: tuple[int, bytes]) -> dict[str, object]:
    text = row[1][: 4 * _SHOWN].decode("utf-8", "replace").rstrip("\r")
    return {"row": row[0], "text": text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"}
