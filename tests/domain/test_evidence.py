"""What counts as evidence: validations that are as strict as the policy."""

import pytest

from ingot.server.core.params import Rules
from ingot.server.domain.evidence import looser


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
