"""The process that runs operations is killed at any moment: each is finished, and never runs twice."""

import pathlib
import random

import pytest

from helpers.killed_runners import OPERATIONS, kill_until_done

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dispatcher", ["rows", pytest.param("memory", marks=pytest.mark.long)])
@pytest.mark.contract("S4-30")
def test_all_operations_end_well_however_often_their_server_is_killed(
    tmp_path: pathlib.Path, dispatcher: str
) -> None:
    moments = random.Random(dispatcher)
    outcome = kill_until_done(tmp_path, dispatcher, [moments.uniform(0.05, 0.8) for _ in range(4)])
    assert outcome.states == ("SUCCEEDED",) * OPERATIONS
    assert outcome.overlaps == 0
    assert outcome.kills >= 3
    assert outcome.attempts > OPERATIONS, "no attempt was lost: the kills came too early to prove anything"
