"""The state machine of training jobs: every move from every state, and what always holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingot.server.core.errors import Precondition, Reason
from ingot.server.core.training import (
    FINAL_STATES,
    HELD_STATES,
    LIVE_STATES,
    Desired,
    JobState,
    Move,
    order_for,
    transition,
)

BY_PEOPLE = {Move.START, Move.PAUSE, Move.RESUME, Move.CANCEL}
BY_WORKERS = {Move.RUN, Move.SAVED, Move.STOPPED, Move.SUCCEED, Move.FAIL, Move.LET_GO}


def after(state: JobState, move: Move) -> JobState | None:
    """Return the state after a move, None where it is refused."""
    try:
        return transition(state, move)
    except Precondition:
        return None


def test_a_refused_move_says_what_state_it_met_and_what_to_do() -> None:
    refused = [(state, move) for state in JobState for move in Move if after(state, move) is None]
    assert refused
    for state, move in refused:
        with pytest.raises(Precondition, match=state) as error:
            transition(state, move)
        assert error.value.reason is Reason.STATE_INVALID
        assert error.value.next_step


@given(some.lists(some.sampled_from(Move), max_size=40))
def test_any_walk_keeps_the_rules(moves: list[Move]) -> None:
    state, claims = JobState.DRAFT, 0
    for move in moves:
        moved = after(state, move)
        if moved is None:
            continue
        if move in BY_WORKERS:
            assert state in HELD_STATES, "only a worker that has the job can do this"
        if moved in HELD_STATES and state not in HELD_STATES:
            assert move is Move.CLAIM, "there is one way to a worker"
            claims += 1
        if state in {JobState.SUCCEEDED, JobState.CANCELLED}:
            assert moved is state, "what is over stays over"
        if state is JobState.CANCELLING:
            assert moved in {JobState.CANCELLING, JobState.CANCELLED, JobState.SUCCEEDED}
        if moved is JobState.RUNNING:
            assert claims
        state = moved


def test_from_every_state_the_end_can_be_reached_and_by_people_alone_when_no_worker_has_it() -> None:
    def reach(start: JobState, moves: set[Move]) -> set[JobState]:
        seen, waiting = {start}, [start]
        while waiting:
            state = waiting.pop()
            for move in moves:
                moved = after(state, move)
                if moved is not None and moved not in seen:
                    seen.add(moved)
                    waiting.append(moved)
        return seen

    assert all(FINAL_STATES & reach(state, set(Move)) for state in JobState)
    for state in set(JobState) - HELD_STATES - FINAL_STATES:
        assert JobState.CANCELLED in reach(state, {Move.CANCEL}), state
    # A worker that is never heard of again cannot keep a job: letting go always leads out of its hands.
    assert all(after(state, Move.LET_GO) not in HELD_STATES for state in HELD_STATES)


@pytest.mark.parametrize("move", [Move.PAUSE, Move.CANCEL])
def test_asking_twice_is_harmless(move: Move) -> None:
    for state in JobState:
        once = after(state, move)
        if once is not None:
            assert after(once, move) is once


def test_orders_to_workers_follow_from_the_state() -> None:
    assert {state: order_for(state) for state in HELD_STATES} == {
        JobState.PREPARING: Desired.RUN,
        JobState.RUNNING: Desired.RUN,
        JobState.PAUSING: Desired.PAUSE,
        JobState.CANCELLING: Desired.CANCEL,
    }
    assert not FINAL_STATES & LIVE_STATES
