"""Secrets that are written down are sealed: AES-256-GCM, with what they belong to bound in.

A sealed secret is one byte of form, 12 random bytes (the nonce), then ciphertext and tag. It opens only with
the same key and for the same owner: a row that is copied to another user or host does not open there.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ingot.server.core.sealed import SealBrokenError

_FORM = b"\x01"
_NONCE = 12


class Sealer:
    """Implements Seal with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, text: str, owner: str) -> bytes:
        """Return the sealed text; `owner` must be told again to open it."""
        nonce = os.urandom(_NONCE)
        return _FORM + nonce + self._cipher.encrypt(nonce, text.encode(), owner.encode())

    def open(self, sealed: bytes, owner: str) -> str:
        """Return the text. Raises SealBrokenError."""
        if sealed[:1] != _FORM:
            raise SealBrokenError
        nonce, content = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, content, owner.encode()).decode()
        except (InvalidTag, ValueError):
            raise SealBrokenError from None
