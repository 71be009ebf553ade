"""Intervals of a mean: known numbers, and what must hold for all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.random import stream
from minilte.measure.interval import interval

numbers = st.floats(-1e6, 1e6)


def test_a_t_interval_is_that_of_the_tables():
    low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776 * math.sqrt(2.5 / 5)  # t of 4 degrees of freedom at 97.5 %, as printed in tables to three places
    assert low == pytest.approx(3 - half, abs=5e-4) and high == pytest.approx(3 + half, abs=5e-4)


def test_another_level_takes_another_quantile():
    low, high = interval([0.0, 2.0], level=0.5)
    assert (high - low) / 2 == pytest.approx(1.0)  # t of 1 degree at 75 % is tan(pi / 4), and s / sqrt(2) is 1


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(2, 9))
def test_equal_numbers_have_an_interval_of_no_width(value, count):
    assert interval([value] * count) == (value, value)


@given(st.lists(numbers, min_size=2, max_size=9), numbers)
def test_a_shift_of_the_numbers_shifts_the_interval(values, by):
    low, high = interval(values)
    moved = interval([value + by for value in values])
    assert moved == pytest.approx((low + by, high + by), rel=1e-9, abs=1e-6)  # rounding of 1e6 times t of up to 13


def test_nineteen_intervals_of_twenty_hold_the_mean():
    draws = stream(0, "check").standard_normal((2000, 5))
    held = sum(low <= 0 <= high for low, high in map(interval, draws.tolist())) / len(draws)
    assert abs(held - 0.95) < 4 * math.sqrt(0.95 * 0.05 / len(draws))  # four deviations of that count
