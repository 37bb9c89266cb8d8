"""The filter of lists: what it understands, and that every refusal names a position."""

import datetime
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.refusals import refusal_of
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.expressions import (
    EVERYTHING,
    AllOf,
    AnyOf,
    Comparison,
    Expression,
    NotOf,
    Term,
    Word,
    all_of,
)
from ingot.server.domain import catalog_fields, filters
from ingot.server.domain.filters import Fields, NumberKind

FIELDS = Fields(
    ("tag", "language", "framework"),
    {"size": NumberKind.BYTES, "count": NumberKind.COUNT, "time": NumberKind.TIME},
)
CHAT, SMALL, PERSIAN = Term("tag", "chat"), Term("tag", "small"), Term("language", "fa")


def parse(text: str) -> Expression:
    return filters.parse(text, FIELDS)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("   ", []),
        ("tag:chat", [CHAT]),
        ('language = "fa"', [PERSIAN]),
        ("language=fa AND tag:Chat", [PERSIAN, CHAT]),
        ("tag:chat small models", [CHAT, Word("small"), Word("models")]),
        ('"chat = small"', [Word("chat"), Word("small")]),
        ('tag:"two words"', [Term("tag", "two words")]),
        ("tag:cafe\u0301", [Term("tag", "caf\u00e9")]),
        ("tag:CAFE\u0301", [Term("tag", "caf\u00e9")]),
        (r'tag:"a \"b\" \\"', [Term("tag", 'a "b" \\')]),
        ("كتاب", [Word("کتاب")]),
        ("flan-t5", [Word("flan"), Word("t5")]),
        ("chat*", [Word("chat*")]),
        ('"chat*"', [Word("chat")]),
        ("and", [Word("and")]),
        ("tag = AND", [Term("tag", "and")]),
        ("chat AND small", [Word("chat"), Word("small")]),
        ("chat chat", [Word("chat")]),
        ("(tag:chat)", [CHAT]),
        ("tag != chat", [NotOf(CHAT)]),
        ("-tag:chat small", [NotOf(CHAT), Word("small")]),
        ("chat NOT small", [Word("chat"), NotOf(Word("small"))]),
        ("NOT NOT chat", [NotOf(NotOf(Word("chat")))]),
    ],
)
def test_parts_are_joined_by_and(text: str, parts: list[Expression]) -> None:
    assert parse(text) == all_of(*parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tag:chat OR tag:small", AnyOf((CHAT, SMALL))),
        ("tag:chat OR tag:chat OR fa", AnyOf((CHAT, Word("fa")))),
        ("flan-t5 OR chat", AnyOf((AllOf((Word("flan"), Word("t5"))), Word("chat")))),
        ("language:fa (tag:chat OR tag:small)", AllOf((PERSIAN, AnyOf((CHAT, SMALL))))),
        ("(tag:chat language:fa) OR tag:small", AnyOf((AllOf((CHAT, PERSIAN)), SMALL))),
        ("NOT (tag:chat OR tag:small)", NotOf(AnyOf((CHAT, SMALL)))),
        ("NOT flan-t5", NotOf(AllOf((Word("flan"), Word("t5"))))),
        ("-(tag:chat) OR -small", AnyOf((NotOf(CHAT), NotOf(Word("small"))))),
    ],
)
def test_or_not_and_brackets(text: str, expected: Expression) -> None:
    assert parse(text) == expected


def test_a_word_with_a_non_joiner_is_also_looked_for_as_one() -> None:
    whole = Word("کتابها")
    assert parse("کتاب\u200cها") == AnyOf((AllOf((Word("کتاب"), Word("ها"))), whole))


JUNE = datetime.datetime(2026, 6, 1, 12, 30, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size > 1000000", Comparison("size", ">", 1_000_000)),
        ("size>=1.5MB", Comparison("size", ">=", 1_500_000)),
        ("size < 4GiB", Comparison("size", "<", 4 * 2**30)),
        ("size <= 10 kb", None),
        ("count = 3", Comparison("count", "=", 3)),
        ("count:3", Comparison("count", "=", 3)),
        ("count != 3", NotOf(Comparison("count", "=", 3))),
        ('time > "2026-06-01T12:30:00Z"', Comparison("time", ">", JUNE)),
        ('time > "2026-06-01T16:00:00+03:30"', Comparison("time", ">", JUNE)),
        ("time <= 2026-06-01", Comparison("time", "<=", JUNE - 12.5 * 3600)),
    ],
)
def test_numbers_are_compared(text: str, expected: Expression | None) -> None:
    assert parse(text) == (expected or AllOf((Comparison("size", "<=", 10), Word("kb"))))


@pytest.mark.parametrize(
    ("text", "position", "why"),
    [
        (
            'colour = "red"',
            1,
            "no field 'colour'; expected one of count, framework, language, size, tag, time",
        ),
        ('tag:chat AND colour = "red"', 14, "no field 'colour'"),
        ("tag:", 4, "expected a value after 'tag'"),
        ('tag:" "', 4, "not empty"),
        ('"open', 1, "quotes"),
        ("tag > chat", 5, "tag is text, which '>' does not compare"),
        ("size > big", 8, "expected a size such as 1000000, 10MB or 4GiB, got 'big'"),
        ("size > 1XB", 8, "expected a size"),
        ("count > 1MB", 9, "expected a number such as 3"),
        ("time > yesterday", 8, "expected a time such as 2026-01-31"),
        ("time > 0001-01-01T00:00:00+14:00", 21, "expected a word or field = value, got ':'"),
        ("tag:a OR tag:b tag:c", 16, "AND and OR stand in one row; put brackets"),
        ("tag:a tag:b OR tag:c", 13, "AND and OR stand in one row"),
        ("chat AND", 6, "something after AND"),
        ("chat OR", 6, "something after OR"),
        ("NOT", 1, "something after NOT"),
        ("(a OR )", 4, "something after OR"),
        ("()", 1, "something in the brackets"),
        ("(chat", 1, "this bracket is not closed"),
        ("chat)", 5, "this bracket was not opened"),
        ("OR chat", 1, "expected a word"),
        ("= chat", 1, "expected a word"),
        ("!!", 1, "no meaning"),
        ("...", 1, "no letter or digit"),
        ("a*", 1, "at least 2 letters before *"),
        ("(" * 12 + "a" + ")" * 12, 12, "at most 10 parts inside each other"),
        (" ".join("abcdefghijklmnopqrstu"), 41, "at most 20"),
        ("a" * 2001, 1, "at most 2000"),
    ],
)
def test_what_it_refuses(text: str, position: int, why: str) -> None:
    with pytest.raises(Invalid, match=re.escape(why)) as caught:
        parse(text)
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.facts["position"] == str(position)


def test_nothing_asks_for_everything() -> None:
    assert parse("") == EVERYTHING


@given(st.text(max_size=100) | st.text(alphabet='tag:="\\ ANDORNTsize<>!=-5x*()é ی', max_size=60))
def test_any_text_is_understood_or_refused_with_a_position(text: str) -> None:
    refused = refusal_of(parse, text)
    if refused is not None:
        assert refused.reason is Reason.FILTER_INVALID
        assert 1 <= int(refused.facts["position"]) <= max(len(text), 1)
    else:
        for each in _leaves(parse(text)):
            assert (
                each.text.strip("*") if isinstance(each, Word) else each.field in FIELDS and each.value != ""
            )


def _leaves(found: Expression) -> list[Term | Word | Comparison]:
    match found:
        case AllOf(parts) | AnyOf(parts):
            return [leaf for part in parts for leaf in _leaves(part)]
        case NotOf(part):
            return _leaves(part)
        case _:
            return [found]


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.strip()))
def test_a_quoted_value_means_itself(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    for form in ("NFC", "NFD"):  # and in the form of a value that is kept, whichever it is asked in
        asked = unicodedata.normalize(form, quoted)
        expected = " ".join(unicodedata.normalize("NFC", value).casefold().split())
        assert parse(f'tag = "{asked}"') == Term("tag", expected)


def test_tags_is_another_word_for_tag() -> None:
    fields = catalog_fields.FILTERABLE
    wanted = 'framework = "pytorch" AND {}:chat AND size_bytes > 1000000'
    assert filters.parse(wanted.format("tags"), fields) == filters.parse(wanted.format("tag"), fields)
