"""Where a step goes: fractions of the whole, the largest first."""

import pytest

from minilte.bench.profile import profile
from minilte.bench.step import Size


def test_the_fractions_of_a_step_add_up_to_the_whole_and_the_largest_comes_first():
    shares = profile(Size(widths=(6, 5, 3), batch=8, heads=2, rank=2, every=2), calls=2)
    names, fractions = zip(*shares)
    assert sum(fractions) == pytest.approx(1) and list(fractions) == sorted(fractions, reverse=True)
    assert len(set(names)) == len(names) and "numpy and Python" in names
