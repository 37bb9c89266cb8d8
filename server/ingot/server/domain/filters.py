"""The filter of a list of artifacts: values, comparisons and bare words, joined by AND, OR and NOT.

    tag:chat AND language = "fa" small*
    size_bytes > 10MB AND (framework = pytorch OR framework = onnx) AND NOT license:mit
    update_time >= 2026-01-01 version_count >= 3

    filter  = all | any
    all     = one { [ "AND" ] one }
    any     = one { "OR" one }
    one     = ( "NOT" | "-" ) one | "(" filter ")" | field operator value | word | "quoted words"
    operator: = and : ask for a value, != for its absence; < <= > >= compare numbers and times

AND and OR in one row need parentheses, because people disagree about which one is read first. A value of a
text field is met in any case of its letters. Quoted text may hold any sign; \\" and \\\\ stand for " and \\.
"""

import dataclasses
import datetime
import itertools
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ingot.server.core import texts
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.expressions import (
    EVERYTHING,
    AnyOf,
    Comparison,
    Expression,
    NotOf,
    Term,
    Word,
    all_of,
)

LONGEST = 2000
MOST_PARTS = 20
MOST_NESTED = 10
SHORTEST_BEGINNING = 2  # letters before a *

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<operator>!=|<=|>=|[=:<>])
      | (?P<minus>-(?=["(\w]))
      | (?P<bracket>[()])
      | (?P<other>[!"])
      | (?P<word>[^\s=:()<>!"]+)
    )""",
    re.VERBOSE,
)
_JOINS = ("AND", "OR")
_SIZES = {
    unit: factor**power
    for power, letter in enumerate(("", "k", "m", "g", "t", "p"))
    for unit, factor in ((f"{letter}b", 1000), (f"{letter}ib", 1024))
}
_NUMBER = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([a-z]*)")


class NumberKind(StrEnum):
    """How the number after a comparison is written."""

    BYTES = "a size such as 1000000, 10MB or 4GiB"
    COUNT = "a number such as 3"
    TIME = 'a time such as 2026-01-31, or "2026-01-31T10:00:00Z" in quotes'


@dataclass(frozen=True, slots=True)
class Fields:
    """What a filter may name."""

    terms: Collection[str]
    numbers: Mapping[str, NumberKind]
    also: Mapping[str, str] = dataclasses.field(default_factory=dict)  # other words for some of them

    def __contains__(self, name: str) -> bool:
        return name in self.terms or name in self.numbers

    def __str__(self) -> str:
        return ", ".join(sorted([*self.terms, *self.numbers]))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int  # in characters, from 1


def parse(text: str, fields: Fields) -> Expression:
    """Return what the filter asks for.

    Raises Invalid (FILTER_INVALID), which names the position of what is wrong.
    """
    if len(text) > LONGEST:
        raise _bad(text[:40], 1, f"expected at most {LONGEST} characters, got {len(text)}")
    reader = _Reader(text, _tokens(text), fields)
    if reader.next is None:
        return EVERYTHING
    found = reader.filter(0)
    if reader.next is not None:
        raise _bad(text, reader.next.position, "this bracket was not opened")
    return found


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        kind = match.lastgroup if match else None
        if match is None or kind is None or kind == "other":
            place = match.start("other") if match else position
            raise _bad(
                text, place + 1, f"{text[place]!r} has no meaning here; put text with such signs in quotes"
            )
        found.append(_Token(kind, match[kind], match.start(kind) + 1))
        position = match.end()
    return found


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, text: str, tokens: list[_Token], fields: Fields) -> None:
        self._text = text
        self._tokens = tokens
        self._fields = fields
        self._at = 0
        self._parts = 0

    @property
    def next(self) -> _Token | None:
        """The token to be read, None at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def filter(self, depth: int) -> Expression:
        """Read parts up to the end or a closing bracket."""
        parts: list[tuple[Expression, ...]] = []
        join = ""
        while True:
            parts.append(self._part(depth))
            token = self.next
            if token is None or (token.kind, token.text) == ("bracket", ")"):
                break
            written = token.kind == "word" and token.text in _JOINS
            this = token.text if written else "AND"
            if join and this != join:
                why = "AND and OR stand in one row; put brackets round the parts that belong together"
                raise self._bad(token, why)
            join = this
            if written:
                self._take()
                self._require_more(token)
        if join == "OR":
            return AnyOf(tuple(dict.fromkeys(all_of(*each) for each in parts)))
        return all_of(*dict.fromkeys(itertools.chain(*parts)))

    def _part(self, depth: int) -> tuple[Expression, ...]:
        """Read one part; a text of several words asks for all of them."""
        token = self._take()
        if depth > MOST_NESTED:
            raise self._bad(token, f"expected at most {MOST_NESTED} parts inside each other")
        if token.kind == "minus" or (token.kind == "word" and token.text == "NOT"):
            self._require_more(token)
            return (NotOf(all_of(*self._part(depth + 1))),)
        if (token.kind, token.text) == ("bracket", "("):
            return (self._bracket(token, depth),)
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise self._bad(token, f"expected at most {MOST_PARTS} terms and words")
        if token.kind == "word" and self.next is not None and self.next.kind == "operator":
            return (self._comparison(token, self._take()),)
        if token.kind not in ("word", "quoted") or (token.kind == "word" and token.text in _JOINS):
            raise self._bad(token, f"expected a word or field = value, got {token.text!r}")
        return self._words(token)

    def _require_more(self, token: _Token) -> None:
        if self.next is None or (self.next.kind, self.next.text) == ("bracket", ")"):
            raise self._bad(token, f"expected something after {token.text}")

    def _bracket(self, opened: _Token, depth: int) -> Expression:
        if self.next is None or self.next.text == ")":
            raise self._bad(opened, "expected something in the brackets")
        found = self.filter(depth + 1)
        if self.next is None:
            raise self._bad(opened, "this bracket is not closed")
        self._take()
        return found

    def _comparison(self, field: _Token, operator: _Token) -> Expression:
        """Read the value after a field and an operator."""
        field = dataclasses.replace(field, text=self._fields.also.get(field.text, field.text))
        if field.text not in self._fields:
            why = f"there is no field {field.text!r}; expected one of {self._fields}"
            raise self._bad(field, why)
        value = self.next
        if value is None or value.kind not in ("word", "quoted"):
            raise self._bad(operator, f"expected a value after {field.text!r} {operator.text!r}")
        self._take()
        plain = _folded(_plain(value))
        if not plain:
            raise self._bad(operator, f"expected a value for {field.text!r} that is not empty")
        kind = self._fields.numbers.get(field.text)
        if kind is not None:
            number = _number(kind, plain)
            if number is None:
                raise self._bad(value, f"{field.text}: expected {kind.value}, got {plain[:80]!r}")
            sign = "=" if operator.text in (":", "!=") else operator.text
            found: Expression = Comparison(field.text, sign, number)
        elif operator.text in ("=", ":", "!="):
            found = Term(field.text, plain)
        else:
            why = f"{field.text} is text, which {operator.text!r} does not compare; expected = or !="
            raise self._bad(operator, why)
        return NotOf(found) if operator.text == "!=" else found

    def _words(self, token: _Token) -> tuple[Expression, ...]:
        """Return the words to search for; one `*` at the end of a bare word stays."""
        plain = _plain(token)
        words = texts.searchable(plain).split()
        if not words:
            raise self._bad(token, f"{plain!r} has no letter or digit to search for")
        if token.kind == "word" and plain.endswith("*"):
            if len(words[-1]) < SHORTEST_BEGINNING:
                raise self._bad(token, f"expected at least {SHORTEST_BEGINNING} letters before *")
            words[-1] += "*"
        if texts.NON_JOINER in plain:  # people also write such words as one
            whole = all_of(*map(Word, texts.whole_word(plain).split()))
            return (AnyOf((all_of(*map(Word, words)), whole)),)
        return tuple(map(Word, words))

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _bad(self, token: _Token, why: str) -> Invalid:
        return _bad(self._text, token.position, why)


def _number(kind: NumberKind, text: str) -> float | None:
    """Return the number that a text stands for, None when it stands for none."""
    if kind is NumberKind.TIME:
        try:
            moment = datetime.datetime.fromisoformat(text.upper())
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        try:
            return moment.timestamp()
        except (OverflowError, ValueError):
            return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    factor = _SIZES.get(match[2]) if match[2] and kind is NumberKind.BYTES else None if match[2] else 1
    return None if factor is None else float(match[1]) * factor


def _plain(token: _Token) -> str:
    if token.kind != "quoted":
        return token.text
    return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)


def _folded(value: str) -> str:
    """Return a value in the form in which they are indexed: that of a text in NFC, in any case of letters."""
    composed = unicodedata.normalize("NFC", value).casefold()  # which may take letters apart
    return " ".join(unicodedata.normalize("NFC", composed).casefold().split())


def _bad(text: str, position: int, why: str) -> Invalid:
    return Invalid(
        Reason.FILTER_INVALID,
        f"filter, position {position}: {why}.",
        next_step='Write terms such as tag:chat AND language = "fa" AND size_bytes > 1MB, and bare words to '
        "search for.",
        facts={"filter": text[:200], "position": str(position)},
    )
