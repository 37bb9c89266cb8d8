"""The learning rate as a function of the step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import training
from ingot.worker.config import SCHEDULERS

pytestmark = pytest.mark.slow


@given(st.sampled_from(SCHEDULERS), st.integers(1, 300), st.integers(0, 300), st.floats(1e-6, 1.0))
def test_every_schedule_rises_to_the_rate_and_never_above(
    scheduler: str, total: int, warmup: int, rate: float
) -> None:
    from ingot.worker import optimize

    warmup = min(warmup, total - 1)
    config = training.tiny(scheduler=scheduler, learning_rate=rate)
    rates = [optimize.learning_rate(config, step, total, warmup) for step in range(1, total + 1)]
    assert all(0 < value <= rate for value in rates)
    peak = max(1, warmup)
    assert math.isclose(rates[peak - 1], rate)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak - 1 :] == sorted(rates[peak - 1 :], reverse=True)


def test_the_linear_schedule_would_be_zero_after_the_last_step() -> None:
    from ingot.worker import optimize

    config = training.tiny(scheduler="linear", learning_rate=1.0)
    assert optimize.learning_rate(config, 11, 10, 0) == 0
    assert optimize.learning_rate(config, 10, 10, 0) == pytest.approx(0.1)
