"""What memory bodies may take, and who is ended first when the machine has none."""

from pathlib import Path

import pytest

from helpers.runners import MEMORY, runner_rig
from ingot.server.core.errors import Reason
from ingot.server.core.events import LogLine
from ingot.server.core.operations import OperationState, RetryPolicy


@pytest.mark.slow
def test_a_greedy_body_ends_alone_and_says_why(tmp_path: Path) -> None:
    with runner_rig(tmp_path) as rig:
        operation = rig.enqueue("greedy", policy=RetryPolicy(3, 0.0))
        ended = rig.until(operation, OperationState.FAILED)
        told = [each.body.text for each in rig.events(operation) if isinstance(each.body, LogLine)]
    assert ended.problem is not None
    assert ended.problem.reason is Reason.OUT_OF_MEMORY
    assert (ended.problem.facts["limit"], ended.problem.facts["setting"]) == (
        str(MEMORY),
        "body_memory_bytes",
    )
    assert ended.attempt == 1  # another one would need as much
    assert told[:2] == ["1000", "it got 4 pieces"]


@pytest.mark.slow
def test_a_body_whose_library_ends_it_for_want_of_memory_says_so_too(tmp_path: Path) -> None:
    with runner_rig(tmp_path) as rig:
        ended = rig.until(rig.enqueue("aborted", policy=RetryPolicy(3, 0.0)), OperationState.FAILED)
    assert ended.problem is not None
    assert ended.problem.reason is Reason.OUT_OF_MEMORY
