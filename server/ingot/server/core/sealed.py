"""Texts that are stored sealed: whoever reads the rows, a backup or an answer learns nothing of them."""

from typing import Protocol


class SealBrokenError(Exception):
    """What was sealed was changed since, or sealed with another key, or for another owner."""


class Seal(Protocol):
    """Seals and opens texts with a key that is stored elsewhere."""

    def seal(self, text: str, owner: str) -> bytes:
        """Return the sealed text; `owner` must be told again to open it."""
        ...

    def open(self, sealed: bytes, owner: str) -> str:
        """Return the text. Raises SealBrokenError."""
        ...
