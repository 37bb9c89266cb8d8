"""What fails every second is told every minute."""

import logging

import pytest

from ingot.server.core.complaints import Complaints
from ingot.server.core.errors import Exhausted, Reason

log = logging.getLogger("tests.complaints")
FULL = Exhausted(Reason.DISK_LOW, "The server's disk is full.")


def test_a_failure_is_told_once_a_minute_for_each_cause(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    complaints = Complaints(log, lambda: now)
    for _ in range(150):
        complaints.tell("work.failed", FULL, "name=a")
        now += 1.0
    lines = [each.getMessage() for each in caplog.records]
    assert lines == [
        f"work.failed name=a cause=DISK_LOW since_last={unsaid}: The server's disk is full."
        for unsaid in (0, 59, 59)
    ]
    assert not any(each.exc_info for each in caplog.records)
    complaints.tell("work.failed", LookupError("new"))
    complaints.tell("other.failed", FULL)
    assert [each.getMessage() for each in caplog.records[3:]] == [
        "work.failed cause=LookupError since_last=0",
        "other.failed cause=DISK_LOW since_last=0: The server's disk is full.",
    ]
    assert [bool(each.exc_info) for each in caplog.records[3:]] == [True, False]
