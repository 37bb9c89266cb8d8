"""Passwords: what they must be, and their hashes.

Hashes are Argon2id with the parameters that argon2-cffi recommends; a hash tells its own, so that they can be
raised later: `outdated` says when one was made with others. Hashing takes about a tenth of a second and 64
MiB on purpose, so it never runs on the event loop nor inside a write (rpc/password_hashing.py).
"""

import base64
import os
import unicodedata

import argon2

from ingot.server.core.errors import invalid_field

SHORTEST, LONGEST = 10, 1024  # characters
_LEAST_DIFFERENT = 5


class Passwords:
    """Makes and checks hashes of passwords; safe on any thread."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._nobodys = _hash_of_nothing(self._hasher)

    def hashed(self, password: str) -> str:
        """Return the hash to keep of a password."""
        return self._hasher.hash(_normal(password))

    def matches(self, hashed: str | None, password: str) -> bool:
        """Return whether a password is the hashed one; without a hash it takes as long and is not."""
        try:
            self._hasher.verify(hashed or self._nobodys, _normal(password))
        except argon2.exceptions.VerifyMismatchError:
            return False
        return hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Return whether the hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(hashed)


def _hash_of_nothing(hasher: argon2.PasswordHasher) -> str:
    """Return what a password is compared with where there is none: it takes as long, and none gives it.

    Written down rather than hashed, so that a server starts at once.
    """
    salt, digest = (
        base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len)
    )
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={argon2.low_level.ARGON2_VERSION}${cost}${salt}${digest}"


def check_new(password: str, user: str, field: str = "new_password") -> None:
    """Refuse a password that is too easy to guess. Raises Invalid (FIELD_INVALID)."""
    text = _normal(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise invalid_field(
            field,
            f"expected {SHORTEST} to {LONGEST} characters, got {len(text)}",
            next_step="Several words in a row make a password that is long and easy to remember.",
        )
    if len(set(text.casefold())) < _LEAST_DIFFERENT:
        raise invalid_field(field, f"expected at least {_LEAST_DIFFERENT} different characters")
    rest = text.casefold().replace(user, "")
    if len(rest) < SHORTEST - 2 and rest != text.casefold():
        raise invalid_field(field, "expected something else than the user's name with a little around it")


def check_typed(password: str, field: str = "password") -> None:
    """Refuse what can be no password before it is hashed. Raises Invalid (FIELD_INVALID)."""
    if not password or len(password) > LONGEST:
        raise invalid_field(field, f"expected 1 to {LONGEST} characters, got {len(password)}")


def _normal(password: str) -> str:
    """Return one form of a password, which keyboards and systems may write in several (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)
