"""Lengths of texts: exact least, most and mean; percentiles from counts that keep ten binary digits."""

from collections import Counter
from collections.abc import Sequence

_DIGITS = 10  # lengths below 1024 are exact, longer ones within 0.1 percent
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class Lengths:
    """Counts lengths in characters."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._count = 0
        self._sum = 0
        self._least = 0
        self._most = 0

    def add(self, lengths: Sequence[int]) -> None:
        """Count some."""
        if not lengths:
            return
        least, most = min(lengths), max(lengths)
        self._least = min(self._least, least) if self._count else least
        self._most = max(self._most, most)
        self._count += len(lengths)
        self._sum += sum(lengths)
        if most < 1 << _DIGITS:
            self._counts.update(lengths)
        else:
            self._counts.update(map(_rounded, lengths))

    def document(self) -> dict[str, object]:
        """Return min, mean, max and percentiles as JSON; nothing when there was no text."""
        if not self._count:
            return {}
        return {
            "min": self._least,
            "mean": round(self._sum / self._count, 2),
            "max": self._most,
            "percentiles": {f"p{round(share * 100)}": self._at(share) for share in _SHARES},
        }

    def _at(self, share: float) -> int:
        """Return the length that `share` of the texts do not exceed."""
        left = share * self._count
        for length in sorted(self._counts):
            left -= self._counts[length]
            if left <= 0:
                return length
        return self._most


def _rounded(length: int) -> int:
    shift = max(0, length.bit_length() - _DIGITS)
    return length >> shift << shift
