"""The state machine of operations."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingot.server.core.errors import Precondition
from ingot.server.core.operations import (
    FINAL_OPERATION_STATES,
    OperationMove,
    OperationState,
    next_state,
)


@given(some.lists(some.sampled_from(OperationMove), max_size=20))
def test_what_is_over_stays_over(moves: list[OperationMove]) -> None:
    state = OperationState.QUEUED
    for move in moves:
        if state in FINAL_OPERATION_STATES and move is not OperationMove.AGAIN:
            with pytest.raises(Precondition):
                next_state(state, move)
            continue
        try:
            state = next_state(state, move)
        except Precondition:
            continue


def test_work_begins_before_it_succeeds() -> None:
    with pytest.raises(Precondition):
        next_state(OperationState.QUEUED, OperationMove.SUCCEED)


def test_what_people_ask_in_vain_is_said_in_words() -> None:
    with pytest.raises(Precondition, match=r"RUNNING cannot be run again\."):
        next_state(OperationState.RUNNING, OperationMove.AGAIN)
    with pytest.raises(Precondition, match=r"FAILED cannot be cancelled\."):
        next_state(OperationState.FAILED, OperationMove.CANCEL)
