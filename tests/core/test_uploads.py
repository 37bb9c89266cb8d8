"""States of uploads, and when a sender is too slow."""

import itertools

import pytest

from ingot.server.core.errors import Precondition, Reason
from ingot.server.core.names import UploadName
from ingot.server.core.uploads import (
    Pace,
    TransferLimits,
    UploadMove,
    UploadState,
    transition,
)

NAME = UploadName("file_1")
ALLOWED = {
    (UploadState.OPEN, UploadMove.SEAL): UploadState.SEALING,
    (UploadState.OPEN, UploadMove.ABORT): UploadState.ABORTED,
    (UploadState.OPEN, UploadMove.EXPIRE): UploadState.EXPIRED,
    (UploadState.OPEN, UploadMove.FAIL): UploadState.FAILED,
    (UploadState.SEALING, UploadMove.REOPEN): UploadState.OPEN,
    (UploadState.SEALING, UploadMove.COMMIT): UploadState.COMMITTED,
    (UploadState.SEALING, UploadMove.FAIL): UploadState.FAILED,
    (UploadState.FAILED, UploadMove.RETRY): UploadState.OPEN,
    (UploadState.EXPIRED, UploadMove.RETRY): UploadState.OPEN,
}


@pytest.mark.parametrize(("state", "move"), list(itertools.product(UploadState, UploadMove)))
def test_only_these_moves_are_possible(state: UploadState, move: UploadMove) -> None:
    if (state, move) in ALLOWED:
        assert transition(NAME, state, move) is ALLOWED[state, move]
        return
    with pytest.raises(Precondition) as refused:
        transition(NAME, state, move)
    assert refused.value.reason is Reason.UPLOAD_CLOSED
    assert refused.value.facts["state"] == state


LIMITS = TransferLimits(idle_seconds=15, min_bytes_per_second=1000, grace_seconds=10, max_stream_seconds=120)


def test_a_silent_sender_has_until_the_idle_time() -> None:
    pace = Pace(LIMITS, 100.0)
    pace.received(10**9, 105.0)
    assert pace.deadline() == 120.0
    assert "nothing came for 15 s" in pace.verdict(120.0).message


def test_a_slow_sender_has_the_grace_and_what_it_sent() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.received(500, 5.0)
    assert pace.deadline() == 10.5
    pace.received(500, 10.0)
    assert pace.deadline() == 11.0
    assert "at least 1000 a second" in pace.verdict(11.0).message


def test_a_steady_sender_is_stopped_at_the_longest_time_only() -> None:
    pace = Pace(LIMITS, 0.0)
    for second in range(120):
        pace.received(1001, float(second))
        assert pace.deadline() > second
    assert pace.deadline() == 120.0
    assert "longer than 120 s" in pace.verdict(120.0).message


def test_time_that_the_server_needs_is_not_charged() -> None:
    pace = Pace(LIMITS, 0.0)
    pace.received(1000, 1.0)
    pace.held_back(1.0, 61.0)
    assert pace.deadline() == 71.0  # 60 s later than without


def test_a_too_slow_sender_hears_what_to_do() -> None:
    error = Pace(LIMITS, 0.0).verdict(10.0)
    assert error.reason is Reason.TOO_SLOW
    assert "FindMissing" in error.next_step


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "stream"),
    [
        (0, 16),
        (100 * MIB - 1, 16),
        (100 * MIB, 64),
        (1024 * MIB - 1, 64),
        (1024 * MIB, 128),
        (4 * 1024**4, 128),
    ],
)
def test_streams_are_larger_for_larger_trees(size: int, stream: int) -> None:
    assert TransferLimits().stream_bytes(size) == stream * MIB
