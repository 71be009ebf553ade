"""What a person reads is right to its last figure."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.cost.units import brief, human, short


@given(st.integers(0, 10**17))
def test_a_count_of_bytes_is_right_to_its_last_figure(count):
    number, unit = human(count).split()
    size = 1000 ** ("B", "kB", "MB", "GB", "TB", "PB").index(unit)
    # half of the last figure, a tenth; 1e-9: rounding of large counts
    assert abs(float(number) * size - count) <= 0.05 * size * (size > 1) * (1 + 1e-9)
    assert re.fullmatch(r"\d{1,3}(\.\d)?", number)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234567, "1.2 MB"),
        (999_950, "1.0 MB"),
        (10**15, "1.0 PB"),
        (10**19, "10000.0 PB"),
    ],
)
def test_a_count_of_bytes_has_the_largest_unit_below_it(count, words):
    assert human(count) == words


@pytest.mark.parametrize(
    ("count", "words"), [(22_320_000_000, "22.32G"), (763_840_000, "763.84M"), (700_000, "0.7M"), (0.35, "0.35")]
)
def test_a_count_is_short_in_units_of_the_paper(count, words):
    assert short(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0"), (0.30417, "0.304"), (999.4, "999"), (999.6, "1,000"), (1187.2, "1,187"), (3.2e10, "3.2e+10")],
)
def test_seconds_are_brief(seconds, words):
    assert brief(seconds) == words
