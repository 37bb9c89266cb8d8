"""Page tokens: a signed place in a sorted list.

A token is base64url(JSON [schema, fingerprint of the query, key values]) + HMAC. Its size does not grow with
the page number, it cannot be forged, and it is refused when it comes back with another query.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ingot.server.core.errors import Invalid, Reason, invalid_field

K = TypeVar("K")
T = TypeVar("T")
Key = str | int | float
DEFAULT_PAGE = 50
LARGEST_PAGE = 1000
LARGEST_WEIGHT = 1_000_000  # characters of one page, far below the 4 MiB of a message
_SCHEMA = 1
_MAC_BYTES = 12


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items in order and the token of the next page, empty on the last."""

    items: tuple[T, ...]
    next_token: str = ""


class PageTokens:
    """Makes and reads page tokens with a secret of this server."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def encode(self, query: str, key: Sequence[Key]) -> str:
        """Return the token for the page after `key` in the list that `query` describes."""
        payload = json.dumps([_SCHEMA, _fingerprint(query), list(key)], separators=(",", ":")).encode()
        return _text_of(self._mac(payload) + payload)

    def decode(self, query: str, token: str, word: str = "page") -> tuple[Key, ...] | None:
        """Return the key after which the page starts, None for the first page.

        `word` says what callers know it as: a page token, a resume token. Raises Invalid
        (PAGE_TOKEN_INVALID) for a token that is not ours or belongs to another query.
        """
        if not token:
            return None
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raise _bad_token(word, "it is not well formed") from None
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if _text_of(raw) != token:  # base64 passes over signs and bits that mean nothing
            raise _bad_token(word, "it is not well formed")
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise _bad_token(word, "this server did not make it")
        schema, fingerprint, key = json.loads(payload)
        if schema != _SCHEMA or fingerprint != _fingerprint(query):
            why = "it belongs to another query: filter, order and parent must stay the same"
            raise _bad_token(word, why)
        return tuple(key)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.new(self._secret, payload, hashlib.sha256).digest()[:_MAC_BYTES]


def page_size(asked: int) -> int:
    """Return the page size to use: 0 gives 50, above 1000 gives 1000. Raises Invalid when negative."""
    if asked < 0:
        raise invalid_field("page_size", f"expected 0 or more, got {asked}", next_step="Leave it out for 50.")
    return min(asked, LARGEST_PAGE) or DEFAULT_PAGE


def fit(
    rows: Sequence[tuple[K, T]], size: int, weigh: Callable[[T], int], most: int = LARGEST_WEIGHT
) -> tuple[tuple[T, ...], K | None]:
    """Return the items of one page out of rows with their keys, and the key to go on after, None at the end.

    `rows` are at least one more than `size` unless the list ends. A page ends early when its items together
    weigh more than `most` characters, so that long texts never make a message too large; it holds one item
    at least.
    """
    total = 0
    for count, (_, item) in enumerate(rows[:size]):
        total += weigh(item)
        if total > most and count:
            size = count
            break
    items = tuple(item for _, item in rows[:size])
    return items, rows[size - 1][0] if len(rows) > size else None


def _text_of(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _fingerprint(query: str) -> str:
    return hashlib.blake2b(query.encode(), digest_size=6).hexdigest()


def _bad_token(word: str, why: str) -> Invalid:
    return Invalid(
        Reason.PAGE_TOKEN_INVALID,
        f"The {word} token cannot be used: {why}.",
        next_step=f"Start again without a {word} token.",
    )
