"""Which validations are as strict as a policy, and which policies ask for less than the one before."""

import pytest

from ingot.server.core.artifacts import ValidationMode, ValidationPolicy
from ingot.server.core.params import Rules
from ingot.server.domain.validation_policies import loosened, looser, words


@pytest.mark.parametrize(
    ("policy", "used", "expected"),
    [
        (Rules(), Rules(), []),
        (Rules(), Rules(max_bad_ratio=0.0, min_records=5), []),
        (Rules(), Rules(max_bad_ratio=0.1), ["max_bad_ratio"]),
        (Rules(max_bad_ratio=0.2), Rules(max_bad_ratio=0.1), []),
        (Rules(max_bad_ratio=0.2), Rules(), []),
        (Rules(max_bad_ratio=0.2), Rules(max_bad_ratio=0.3), ["max_bad_ratio"]),
        (Rules(max_records=10), Rules(max_records=9), []),
        (Rules(max_records=10), Rules(max_records=11), ["max_records"]),
        (Rules(max_records=10), Rules(), ["max_records"]),
        (Rules(min_records=10), Rules(min_records=11), []),
        (Rules(min_records=10), Rules(min_records=0), ["min_records"]),
        (Rules(max_duplicate_ratio=0.0), Rules(max_duplicate_ratio=0.5), ["max_duplicate_ratio"]),
        (Rules(allowed_formats=("csv", "jsonl")), Rules(allowed_formats=("csv",)), []),
        (Rules(allowed_formats=("csv",)), Rules(allowed_formats=("csv", "txt")), ["allowed_formats"]),
        (Rules(allowed_languages=("fa",)), Rules(), ["allowed_languages"]),
        (Rules(required_columns=("a",)), Rules(required_columns=("a", "b")), []),
        (Rules(required_columns=("a", "b")), Rules(required_columns=("a",)), ["required_columns"]),
    ],
)
def test_a_validation_counts_when_it_is_as_strict_as_the_policy(
    policy: Rules, used: Rules, expected: list[str]
) -> None:
    assert looser(policy, used) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ValidationPolicy(), ValidationPolicy(ValidationMode.REQUIRED), []),
        (ValidationPolicy(ValidationMode.REQUIRED), ValidationPolicy(), ["mode"]),
        (ValidationPolicy(), ValidationPolicy(ValidationMode.NONE), ["mode"]),
        (ValidationPolicy(), ValidationPolicy(rules=Rules(min_records=5)), []),
        (ValidationPolicy(rules=Rules(min_records=5)), ValidationPolicy(), ["min_records"]),
        (ValidationPolicy(), ValidationPolicy(rules=Rules(max_bad_ratio=0.5)), ["max_bad_ratio"]),
        (ValidationPolicy(), ValidationPolicy(rules=Rules(allow_unsafe=True)), ["allow_unsafe"]),
        (ValidationPolicy(rules=Rules(allow_unsafe=True)), ValidationPolicy(), []),
    ],
)
def test_a_policy_is_loosened_when_it_asks_for_less(
    before: ValidationPolicy, after: ValidationPolicy, expected: list[str]
) -> None:
    assert loosened(before, after) == expected


def test_a_policy_is_told_in_words_with_its_lists_at_the_end() -> None:
    rules = Rules(allowed_formats=("csv", "txt"), max_bad_ratio=0.25, allow_unsafe=False)
    assert words(ValidationPolicy(ValidationMode.REQUIRED, rules)) == [
        "mode REQUIRED",
        "max_bad_ratio 0.25",
        "allow_unsafe False",
        "allowed_formats csv",
        "allowed_formats txt",
    ]
    assert words(ValidationPolicy()) == ["nothing"]
