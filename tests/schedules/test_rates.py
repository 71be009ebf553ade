"""Schedules rise, reach their rate, and fall to nothing after the last step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.schedules.plain import SHAPES, schedule


@pytest.mark.parametrize("shape", SHAPES)
@given(steps=st.integers(1, 300), warmup=st.floats(0, 1))
def test_rates_are_positive_and_never_above_the_one_asked_for(shape, steps, warmup):
    rate = schedule(shape, 0.1, steps, warmup)
    rates = [rate(step) for step in range(steps)]
    w = round(warmup * steps)
    assert all(0 < r <= 0.1 for r in rates)
    assert rates[:w] == sorted(rates[:w]) and rates[w:] == sorted(rates[w:], reverse=True)
    if w < steps:
        assert rates[w] == 0.1
        assert rate(steps) == (0.1 if shape == "constant" else pytest.approx(0, abs=1e-12))


def test_the_warm_up_climbs_in_equal_steps():
    rate = schedule("cosine", 1.0, 100, 0.05)
    assert [rate(step) for step in range(5)] == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_half_way_down():
    assert schedule("cosine", 1.0, 100)(50) == pytest.approx(0.5) and schedule("linear", 1.0, 100)(50) == 0.5
