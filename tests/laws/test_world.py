"""What laws measure with: an error is relative to what moves, and one number that is off or NaN is seen."""

import math

import numpy as np
import pytest

from minilte.core.types import Linear
from minilte.laws import low_rank
from minilte.laws.world import Case, apart, difference, gap, same_path, worst


def path(*ends):
    """Weights 1000 at the start, then moved by each of `ends` in a single entry."""
    return [{"layer1": Linear(np.array([[1000.0 + end, 1000.0]]), None)} for end in (0.0, *ends)]


def test_paths_are_as_far_apart_as_a_part_of_the_way_gone_and_not_of_the_weights():
    assert apart(path(0.5, 1.5), path(0.5, 2.0)) == pytest.approx(0.25)
    assert apart(path(0.5e-3, 1.5e-3), path(0.5e-3, 2e-3)) == pytest.approx(0.25, rel=1e-6)  # rounding of 1000


def test_a_way_shorter_than_a_millionth_counts_as_a_millionth():
    assert apart([np.zeros(1), np.array([1e-9])], [np.zeros(1)] * 2) == pytest.approx(1e-3)


def test_the_worst_step_of_a_path_counts_and_not_the_last():
    assert apart(path(1.0, 2.0), path(0.0, 2.0)) == pytest.approx(0.5)


def test_paths_of_unequal_length_are_not_compared():
    with pytest.raises(ValueError):
        apart(path(1.0), path(1.0, 2.0))


def test_a_gap_is_relative_to_the_largest_number_expected_or_to_one():
    assert gap([np.array([1.0, 100.0])], [np.array([0.0, 100.0])]) == pytest.approx(0.01)
    assert gap([np.array([0.5])], [np.array([0.1])]) == pytest.approx(0.4)


def test_what_is_not_a_number_is_infinitely_wrong():
    assert difference([np.array([1.0, np.nan])], [np.array([1.0, 1.0])]) == math.inf
    assert worst([0.0, math.nan]) == math.inf and worst([]) == 0.0


def test_one_path_is_not_far_from_itself_and_another_is():
    case = Case()
    world = low_rank.build(case)
    assert same_path(world.method(), world.method(), case.heads, case.steps) == 0.0
    assert same_path(world.method(every=1), world.method(w=[0.9, 0.1], every=1), case.heads, case.steps) > 1e-2


@pytest.mark.parametrize("bound, expected", [(0, 1.0), (1, 0.5), (2, 0.1), (3, 0.0)])
def test_what_is_beyond_a_rank_is_the_next_singular_value_over_the_largest(bound, expected, monkeypatch):
    ends = [{"layer1": Linear(W, None)} for W in (np.zeros((3, 3)), np.diag([2.0, 1.0, 0.2]))]
    monkeypatch.setattr(low_rank, "weights_along", lambda *_: ends)
    assert low_rank.beyond(Case(), None, lambda W: bound) == pytest.approx(expected)
