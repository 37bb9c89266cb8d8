"""The filter of a list of artifacts: terms joined by AND, and bare words that are searched for.

    tag:chat AND language = "fa" small*

    filter = part { [ "AND" ] part }
    part   = field ( "=" | ":" ) value  |  word  |  "quoted words"
    value  = word | quoted, where \\" and \\\\ stand for themselves

`field:value` and `field = value` mean the same: the artifact has that value, in any case of its letters.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from ingot.server.core import texts
from ingot.server.core.artifacts import Term
from ingot.server.core.errors import Invalid, Reason

LONGEST = 2000
MOST_PARTS = 20

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<operator>[=:])
      | (?P<other>[()<>!]|")
      | (?P<word>[^\s=:()<>!"]+)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a filter asks for: all of the terms and all of the words."""

    terms: tuple[Term, ...] = ()
    words: tuple[str, ...] = ()  # as indexed; a trailing * stands for any ending


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int  # in characters, from 1


def parse(text: str, fields: Collection[str]) -> Filter:
    """Return what the filter asks for; `fields` are those it may compare.

    Raises Invalid (FILTER_INVALID), which names the position of what is wrong.
    """
    if len(text) > LONGEST:
        raise _bad(text[:40], 1, f"expected at most {LONGEST} characters, got {len(text)}")
    tokens = _tokens(text)
    terms: dict[Term, None] = {}
    words: dict[str, None] = {}
    parts = 0
    while tokens:
        token = tokens.pop(0)
        if tokens and tokens[0].kind == "operator" and token.kind == "word":
            terms[_term(token, tokens, fields, text)] = None
        elif token.kind in ("word", "quoted"):
            words.update(dict.fromkeys(_words(token, text)))
        else:
            raise _bad(text, token.position, f"expected a word or field = value, got {token.text!r}")
        parts += 1
        if parts > MOST_PARTS:
            raise _bad(text, token.position, f"expected at most {MOST_PARTS} terms and words")
        _skip_and(tokens, text)
    return Filter(tuple(terms), tuple(words))


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


def _term(field: _Token, rest: list[_Token], fields: Collection[str], text: str) -> Term:
    """Take the operator and the value after a field."""
    if field.text not in fields:
        expected = ", ".join(sorted(fields))
        raise _bad(text, field.position, f"there is no field {field.text!r}; expected one of {expected}")
    operator = rest.pop(0)
    if not rest or rest[0].kind not in ("word", "quoted"):
        raise _bad(text, operator.position, f"expected a value after {field.text!r} {operator.text!r}")
    value = " ".join(_plain(rest.pop(0)).casefold().split())
    if not value:
        raise _bad(text, operator.position, f"expected a value for {field.text!r} that is not empty")
    return Term(field.text, value)


def _words(token: _Token, text: str) -> list[str]:
    """Return the words to search for; one `*` at the end of a bare word stays."""
    plain = _plain(token)
    words = texts.searchable(plain).split()
    if not words:
        raise _bad(text, token.position, f"{plain!r} has no letter or digit to search for")
    if token.kind == "word" and plain.endswith("*"):
        words[-1] += "*"
    return words


def _skip_and(rest: list[_Token], text: str) -> None:
    """Drop an AND between two parts; other operators of filter languages are refused by name."""
    if not rest or rest[0].kind != "word" or rest[0].text not in ("AND", "OR", "NOT"):
        return
    operator = rest.pop(0)
    if operator.text != "AND":
        raise _bad(text, operator.position, f"{operator.text} is not understood; only AND is")
    if not rest:
        raise _bad(text, operator.position, "expected something after AND")


def _plain(token: _Token) -> str:
    if token.kind != "quoted":
        return token.text
    return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)


def _bad(text: str, position: int, why: str) -> Invalid:
    return Invalid(
        Reason.FILTER_INVALID,
        f"filter, position {position}: {why}.",
        next_step='Write terms such as tag:chat AND language = "fa", and bare words to search for.',
        facts={"filter": text[:200], "position": str(position)},
    )
