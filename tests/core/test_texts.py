"""What people write is checked in one form, and search sees through keyboards, marks and joiners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.server.core import texts
from ingot.server.core.errors import Invalid


@pytest.mark.parametrize(
    ("written", "looked_for"),
    [
        ("كتاب‌هاي فارسي", "کتاب های فارسی"),  # Arabic kaf and yeh, zero-width non-joiner
        ("مُحَمَّد", "محمد"),  # vowel points
        ("هــــوش", "هوش"),  # stretched
        ("آب", "اب"),
        ("مسئول", "مسیول"),
        ("خانهٔ ما", "خانه ما"),
        ("مدرسة", "مدرسه"),
        ("نسخه ۱۲۳", "نسخه 123"),
        ("Café ÉCOLE", "cafe ecole"),
        ("STRASSE straße", "strasse strasse"),
        ("google/flan-T5_small v1.5", "google flan t5 small v1 5"),
        ("ＦＵＬＬ width", "full width"),
        ("하나", "하나"),
        ("İstanbul", "istanbul"),
    ],
)
def test_words_are_compared_in_one_form(written: str, looked_for: str) -> None:
    assert texts.searchable(written) == looked_for
    assert texts.searchable(looked_for) == looked_for


@pytest.mark.parametrize(
    ("written", "found_by"),
    [
        ("کتاب‌ها", ["کتاب", "ها", "کتابها"]),
        ("نمی‌خواهم‌شان", ["نمی", "خواهم", "شان", "نمیخواهمشان"]),
        ("كتاب‌هاي نو", ["کتاب", "های", "نو", "کتابهای"]),
        ("plain words", ["plain", "words"]),
    ],
)
def test_words_with_non_joiners_are_found_split_and_whole(written: str, found_by: list[str]) -> None:
    assert texts.index_text(written).split() == found_by


@given(st.text())
def test_search_text_is_words_and_single_spaces(text: str) -> None:
    found = texts.searchable(text)
    assert found == " ".join(found.split())
    assert not set(found) & set("\"*'():^-+{}")  # nothing that the query language of the index could read


@given(st.text())
def test_looking_for_what_was_written_always_matches(text: str) -> None:
    assert texts.searchable(texts.searchable(text)) == texts.searchable(text)


def test_text_keeps_any_script_and_its_lines() -> None:
    assert texts.text("description", "  مدل\nکوچک  ", 20) == "مدل\nکوچک"
    assert texts.text("description", "é", 20) == "é"  # one form of an accent


@pytest.mark.parametrize(
    ("value", "why"), [("a" * 21, "at most 20"), ("a\0b", "U\\+0000"), ("\x1b[1m", "U\\+001B")]
)
def test_text_that_cannot_be_kept_is_refused(value: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        texts.text("description", value, 20)


def test_words_are_lower_case() -> None:
    assert texts.word("framework", " Scikit-Learn ") == "scikit-learn"
    assert texts.word("framework", "") == ""
    with pytest.raises(Invalid, match="framework: expected a word"):
        texts.word("framework", "two words")


@pytest.mark.parametrize("value", [{"x": float("nan")}, {"x": float("inf")}, {"x": "y" * texts.JSON_LIMIT}])
def test_json_that_cannot_be_kept_is_refused(value: dict[str, float | str]) -> None:
    with pytest.raises(Invalid, match="metadata: expected"):
        texts.json_object("metadata", value)
