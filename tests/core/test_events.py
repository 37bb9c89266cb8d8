"""A change of state tells why in one short line."""

import pytest

from ingot.server.core.events import StateChange


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", ""),
        ("It stalled.", "It stalled."),
        ("\n  It stalled.\nTraceback: …", "It stalled."),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_the_reason_of_a_change_is_one_line_that_fits(message: str, shown: str) -> None:
    assert StateChange.because("RUNNING", "FAILED", message) == StateChange("RUNNING", "FAILED", shown)
