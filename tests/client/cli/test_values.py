"""What stands after a flag as KEY=VALUE: JSON, or else text, and never another number than was written."""

import pytest

from ingot.client.cli import values


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("1e-4", 0.0001),
        ("true", True),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ("words", "words"),
        ("", ""),
        ("9007199254740992", 2**53),
        ("9007199254740993", "9007199254740993"),
        ("-12345678901234567890", "-12345678901234567890"),
        ("12e3456", "12e3456"),  # an abbreviated commit, no infinity
        ("NaN", "NaN"),
    ],
)
def test_metadata_is_json_or_else_text(text: str, kept: object) -> None:
    assert values.pairs([f"key={text}"], "--meta") == {"key": kept}
    assert values.pairs([f"key={text}"], "--requirement") == {"key": kept}


def test_versions_keep_their_last_zero_and_measures_are_numbers() -> None:
    assert values.pairs(["python=3.10", "cuda=12.0"], "--requirement") == {"python": "3.10", "cuda": "12.0"}
    assert values.pairs(["share=0.90"], "--meta") == {"share": 0.9}
    assert values.pairs(["accuracy=0.90"], "--metric") == {"accuracy": 0.9}
    assert values.pairs(["max_bad_ratio=0.10"], "--rule") == {"max_bad_ratio": 0.1}
