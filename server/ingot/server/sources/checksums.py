"""Checksums as people give them, `sha256:<hex>` and the like, computed while bytes pass."""

import hashlib
from typing import Protocol

from blake3 import blake3

from ingot.server.core.errors import Invalid, invalid_field

_DIGITS = {"sha256": 64, "blake3": 64, "sha1": 40, "md5": 32, "sha512": 128}


class Hasher(Protocol):
    """A running checksum."""

    def update(self, data: bytes, /) -> object:
        """Take more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the checksum of all bytes so far in lower-case hex."""
        ...


def parse(text: str) -> tuple[str, str]:
    """Return algorithm and hex of a checksum; both empty for an empty one. Raises Invalid."""
    if not text:
        return "", ""
    algorithm, colon, digits = text.strip().lower().partition(":")
    length = _DIGITS.get(algorithm)
    if not colon or length is None or len(digits) != length or set(digits) - set("0123456789abcdef"):
        raise _bad(text)
    return algorithm, digits


def hasher(algorithm: str) -> Hasher:
    """Return a fresh one; the algorithm is one that `parse` returned."""
    if algorithm == "blake3":
        return blake3()
    return hashlib.new(algorithm, usedforsecurity=False)


def _bad(text: str) -> Invalid:
    known = ", ".join(f"{name}:<{digits} hex digits>" for name, digits in _DIGITS.items())
    return invalid_field("checksum", f"expected one of {known}; got {text[:200]!r}.")
