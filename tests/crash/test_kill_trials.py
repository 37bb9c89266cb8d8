"""kill -9 at every step of the write order and at random moments, while clients push and upkeep runs.

The long set makes ten rounds of twenty kills: each step ten times, twenty random moments, 200 trials. Which
step each kill hit stands in the report: `make test-all ARGS="-k kill_trials --junitxml=kills.xml"`.
"""

import pathlib
from collections import Counter
from collections.abc import Callable

import pytest

from helpers.kill_trials import MOMENT, START, STEPS, KillTrials
from helpers.patterns import pattern

ROUND = (*STEPS, MOMENT, MOMENT)
SHORT = ("pack.renamed", "intake.indexed", "commit.adopted", "collect.copied", MOMENT, START)


def kill_all(folder: pathlib.Path, steps: tuple[str, ...], seed: int) -> KillTrials:
    with KillTrials(folder, seed) as trials:
        for step in steps:
            trials.kill(step)
        trials.finish()
    return trials


@pytest.mark.slow
@pytest.mark.contract("S3-53", "S3-59", "S3-60")
def test_what_was_acknowledged_survives_some_kills(tmp_path: pathlib.Path) -> None:
    trials = kill_all(tmp_path, SHORT, 0)
    assert trials.hits == Counter(SHORT)
    assert len(trials.versions) >= len(SHORT)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("turn", range(1, 11))
@pytest.mark.contract("S3-53", "S3-59", "S3-60")
def test_what_was_acknowledged_survives_every_kill(
    tmp_path: pathlib.Path, turn: int, record_property: Callable[[str, object], None]
) -> None:
    """Each round hits each step once, so that ten rounds hit each ten times."""
    order = sorted(ROUND, key=lambda step: hash_of(step, turn))
    trials = kill_all(tmp_path, tuple(order), turn)
    for step, kills in trials.hits.items():
        record_property(step, kills)
    assert trials.hits == Counter(ROUND)
    assert len(trials.versions) >= len(ROUND)


def hash_of(step: str, turn: int) -> int:
    """Return where a step comes in a round: another order each time, and the same in each run."""
    return int.from_bytes(pattern(f"{turn} {step}", 8), "big")
