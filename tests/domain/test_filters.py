"""The filter of lists: what it understands, and that every refusal names a position."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.refusals import refusal_of
from ingot.server.core.artifacts import Term
from ingot.server.core.errors import Invalid, Reason
from ingot.server.domain import filters
from ingot.server.domain.filters import Filter

FIELDS = ("tag", "language", "framework")


def parse(text: str) -> Filter:
    return filters.parse(text, FIELDS)


@pytest.mark.parametrize(
    ("text", "terms", "words"),
    [
        ("", [], []),
        ("   ", [], []),
        ("tag:chat", [("tag", "chat")], []),
        ('language = "fa"', [("language", "fa")], []),
        ("language=fa AND tag:Chat", [("language", "fa"), ("tag", "chat")], []),
        ("tag:chat small models", [("tag", "chat")], ["small", "models"]),
        ('"chat = small"', [], ["chat", "small"]),
        ('tag:"two words"', [("tag", "two words")], []),
        (r'tag:"a \"b\" \\"', [("tag", 'a "b" \\')], []),
        ("كتاب", [], ["کتاب"]),
        ("flan-t5", [], ["flan", "t5"]),
        ("chat*", [], ["chat*"]),
        ('"chat*"', [], ["chat"]),
        ("and", [], ["and"]),
        ("tag = AND", [("tag", "and")], []),
        ("chat AND small", [], ["chat", "small"]),
        ("chat chat", [], ["chat"]),
    ],
)
def test_what_it_understands(text: str, terms: list[tuple[str, str]], words: list[str]) -> None:
    assert parse(text) == Filter(tuple(Term(*term) for term in terms), tuple(words))


@pytest.mark.parametrize(
    ("text", "position", "why"),
    [
        ('colour = "red"', 1, "no field 'colour'; expected one of framework, language, tag"),
        ('tag:chat AND colour = "red"', 14, "no field 'colour'"),
        ("tag:", 4, "expected a value after 'tag'"),
        ('tag:" "', 4, "not empty"),
        ('"open', 1, "quotes"),
        ("(tag:chat)", 1, "no meaning"),
        ("tag:chat OR tag:small", 10, "only AND is"),
        ("chat NOT small", 6, "only AND is"),
        ("chat AND", 6, "something after AND"),
        ("= chat", 1, "expected a word"),
        ("!!", 1, "no meaning"),
        ("...", 1, "no letter or digit"),
        (" ".join("abcdefghijklmnopqrstu"), 41, "at most 20"),
        ("a" * 2001, 1, "at most 2000"),
    ],
)
def test_what_it_refuses(text: str, position: int, why: str) -> None:
    with pytest.raises(Invalid, match=re.escape(why)) as caught:
        parse(text)
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.facts["position"] == str(position)


@given(st.text(max_size=100) | st.text(alphabet='tag:="\\ ANDORx*()é ی', max_size=60))
def test_any_text_is_understood_or_refused_with_a_position(text: str) -> None:
    refused = refusal_of(parse, text)
    if refused is not None:
        assert refused.reason is Reason.FILTER_INVALID
        assert 1 <= int(refused.facts["position"]) <= max(len(text), 1)
    else:
        found = parse(text)
        assert all(term.field in FIELDS and term.value for term in found.terms)
        assert all(word.strip("*") for word in found.words)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.strip()))
def test_a_quoted_value_means_itself(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    expected = " ".join(value.casefold().split())
    assert parse(f'tag = "{quoted}"').terms == (Term("tag", expected),)
