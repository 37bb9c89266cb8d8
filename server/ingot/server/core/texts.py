"""Rules for what people write: text, words and JSON objects; and how text is made comparable for search.

Search text and search words pass the same `searchable`, so that an Arabic yeh finds a Persian one, letters
without their marks find those with them, digits of all scripts are the same, and a zero-width non-joiner
separates like a space. When that form changes, SEARCH_FORM grows: what is indexed in an older one is indexed
again when the server starts.
"""

import json
import re
import unicodedata
from collections.abc import Callable

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.errors import invalid_field

_WORD = re.compile(r"[a-z0-9][a-z0-9._+/-]{0,63}")
JSON_LIMIT = 64 * 1024
SEARCH_FORM = 3  # of `searchable`, and of what artifacts are found by

NON_JOINER = "\u200c"
# One form for letters that Persian and Arabic keyboards write differently, after their marks are gone.
_LETTERS = {"ي": "ی", "ى": "ی", "ك": "ک", "ە": "ه", "ة": "ه", "ـ": "", "ı": "i"}
# Combining classes of vowel points and accents; those of other scripts are part of the spelling.
_POINTS = frozenset(range(10, 37)) | frozenset(range(200, 241))


def text(field: str, value: str, limit: int) -> str:
    """Return free text in any script in its NFC form without spaces around it.

    Raises Invalid (FIELD_INVALID) above `limit` characters, or with control characters in it.
    """
    value = unicodedata.normalize("NFC", value).strip()
    if len(value) > limit:
        raise invalid_field(field, f"expected at most {limit} characters, got {len(value)}")
    for letter in value:
        if unicodedata.category(letter) == "Cc" and letter not in "\n\r\t":
            raise invalid_field(field, f"expected text, got the control character U+{ord(letter):04X}")
    return value


def line(field: str, value: str, limit: int) -> str:
    """Return a name or a title: `text` that stays on one line, so that it cannot pass for other output.

    Raises Invalid (FIELD_INVALID).
    """
    value = text(field, value, limit)
    for letter in value:
        if letter in "\n\r\t" or unicodedata.category(letter) in ("Zl", "Zp"):
            raise invalid_field(field, f"expected one line of text, got the character U+{ord(letter):04X}")
    return value


def word(field: str, value: str) -> str:
    """Return a word such as `pytorch` in lower case, "" as it is. Raises Invalid (FIELD_INVALID)."""
    value = value.strip().lower()
    if value and not _WORD.fullmatch(value):
        raise invalid_field(
            field,
            f"expected a word of letters, digits, '.', '_', '+', '/' and '-', at most 64, got {value[:80]!r}",
        )
    return value


def json_object(field: str, value: JsonObject) -> JsonObject:
    """Return the object if it is at most 64 KiB as JSON. Raises Invalid (FIELD_INVALID)."""
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except ValueError:
        raise invalid_field(
            field, "expected numbers, got NaN or infinity", next_step="Leave them out."
        ) from None
    if size > JSON_LIMIT:
        raise invalid_field(
            field,
            f"expected at most {JSON_LIMIT} bytes of JSON, got {size}",
            next_step="Keep large things as a file of a version.",
        )
    return value


def searchable(value: str) -> str:
    """Return the words of a text in the form in which they are indexed and looked for, joined by spaces."""
    bare = unicodedata.normalize("NFKD", value).casefold().translate(_BARE)
    return " ".join(unicodedata.normalize("NFKC", bare).translate(_KEPT).split())


def index_text(value: str) -> str:
    """Return the words that a text is found by: as `searchable`, and whole those with a non-joiner inside.

    So کتاب‌ها is found as کتاب, ها and کتابها, which people all write.
    """
    return " ".join([searchable(value), *(whole_word(part) for part in value.split() if NON_JOINER in part)])


def whole_word(value: str) -> str:
    """Return what becomes of a text when nothing is where its zero-width non-joiners are."""
    return searchable(value.replace(NON_JOINER, ""))


class _Letters(dict[int, str]):
    """A table for str.translate that asks about each letter once."""

    def __init__(self, of: Callable[[str], str]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, code: int) -> str:
        self[code] = found = self._of(chr(code))
        return found


def _bare(letter: str) -> str:
    """Return a letter in its one form, nothing for its points."""
    return "" if unicodedata.combining(letter) in _POINTS else _LETTERS.get(letter, letter)


def _kept(letter: str) -> str:
    """Return a letter, the ASCII form of a digit, or a space for what separates words."""
    category = unicodedata.category(letter)
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    return letter if category[0] in "LNM" else " "


_BARE, _KEPT = _Letters(_bare), _Letters(_kept)
