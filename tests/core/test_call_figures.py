"""Times: percentiles within seven percent, sums that lose nothing, and bytes that come back."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.server.core.call_figures import Times

SPANS = st.floats(0, 1e6, allow_nan=False)


def _of(spans: list[float]) -> Times:
    times = Times()
    for each in spans:
        times.add(each)
    return times


@given(st.lists(SPANS, min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_within_seven_percent(spans: list[float], share: float) -> None:
    exact = sorted(spans)[max(0, -int(-share * len(spans) // 1) - 1)]
    told = _of(spans).percentile(share)
    assert exact - 2e-6 <= told <= exact * 1.07 + 2e-6


@given(st.lists(SPANS), st.lists(SPANS))
def test_adding_up_is_as_if_all_were_added_to_one(first: list[float], second: list[float]) -> None:
    times = _of(first)
    times.add_all(_of(second))
    assert times == _of(first + second)
    assert times.count == len(first) + len(second)


@given(st.lists(SPANS))
def test_bytes_come_back(spans: list[float]) -> None:
    assert Times.unpack(_of(spans).pack()) == _of(spans)


@given(st.lists(SPANS), st.lists(SPANS))
def test_bytes_one_after_the_other_are_the_sum(first: list[float], second: list[float]) -> None:
    assert Times.unpack(_of(first).pack() + _of(second).pack()) == _of(first + second)


def test_without_anything_there_is_nothing() -> None:
    assert (Times().count, Times().percentile(0.99), Times().pack()) == (0, 0.0, b"")


@pytest.mark.parametrize("span", [-1.0, 1e12])
def test_a_span_that_cannot_be_is_kept_in_bounds(span: float) -> None:
    assert 0 <= _of([span]).percentile(0.5) < 5e6


def test_space_is_bounded() -> None:
    numbers = random.Random(1)
    times = _of([numbers.lognormvariate(-5, 4) for _ in range(20_000)])
    assert len(times.steps) < 700
