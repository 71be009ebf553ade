"""samples-to-match: exact where the score is known, one direction at a time, and said where nothing reaches."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.compare import matching
from minilte.compare.matching import crossing, match, matched
from minilte.show.standings import ratio

HORIZONS = sorted({1.0} | {2.0**power for powers in matching.SIDES.values() for power in powers})


class Trained:
    """An outcome whose loss is known."""

    def __init__(self, loss):
        self.loss = loss

    def score(self, name):
        return self.loss


def climbed(slopes, goals):
    """(scores, horizons trained, where it was tuned again) of losses h^-slope at every seed, against the goals."""
    asked, tuned_at = [], []

    def trained(horizon, settings):
        assert settings == tuned_at[-1]
        asked.append(horizon)
        return horizon, [horizon] * len(slopes)

    def retuned(horizon):
        tuned_at.append(horizon)
        yield []
        return horizon

    losses = lambda horizon: [Trained(horizon**-slope) for slope in slopes]  # noqa: E731
    plan = matched({"test_loss": goals}, losses(1.0), trained, retuned)
    runs = next(plan, None)
    try:
        while runs is not None:
            runs = plan.send(losses(runs[0]) if runs else [])
    except StopIteration as end:
        return end.value["test_loss"], asked, tuned_at
    return {1.0: [1.0] * len(slopes)}, asked, tuned_at


@given(st.lists(st.floats(0.3, 3.0), min_size=2, max_size=5), st.floats(-1.9, 1.9))
def test_a_power_law_is_matched_exactly(slopes, power):
    goals = [2.0 ** (-power * slope) for slope in slopes]
    scores, asked, _ = climbed(slopes, goals)
    found = match("a", "b", "test_loss", scores, goals)
    assert found.short == found.early == 0
    assert found.ratios == pytest.approx([2.0**power] * len(slopes), rel=1e-9)
    assert found.low <= found.mean * (1 + 1e-12) and found.mean <= found.high * (1 + 1e-12)
    assert all(horizon > 1 for horizon in asked) if power > 0 else all(horizon < 1 for horizon in asked)


def test_only_one_side_is_trained_and_it_is_tuned_again_at_its_middle():
    scores, asked, tuned_at = climbed([1.0, 1.0], [2**-1.2] * 2)
    assert asked == [2**0.5, 2.0, 2**1.5] and tuned_at == [2.0]
    assert list(scores) == [1.0, 2**0.5, 2.0, 2**1.5]
    _, asked, tuned_at = climbed([1.0, 1.0], [2**0.7] * 2)
    assert asked == [2**-0.5, 0.5] and tuned_at == [0.5]


def test_seeds_that_differ_need_both_sides():
    _, asked, tuned_at = climbed([1.0, 1.0], [2**0.3, 2**-0.3])
    assert asked == [2**0.5, 2**-0.5] and tuned_at == [2.0, 0.5]


def test_what_no_horizon_reaches_is_more_than_the_largest():
    goals = [1e-9, 0.9]
    scores, asked, _ = climbed([0.5, 0.5], goals)
    found = match("a", "b", "test_loss", scores, goals)
    assert asked == [2**0.5, 2.0, 2**1.5, 4.0]
    assert found.short == 1 and found.ratios[0] == 4.0 and ratio(found._asdict()) == "more than 4 (1 of 2 seeds)"


def test_what_the_shortest_reaches_is_at_most_that():
    goals = [1e9, 1e9]
    scores, _, _ = climbed([0.5, 0.5], goals)
    found = match("a", "b", "test_loss", scores, goals)
    assert (
        found.early == 2 and found.ratios == (0.25, 0.25) and ratio(found._asdict()) == "at most 0.25 (2 of 2 seeds)"
    )


@pytest.mark.parametrize(
    "scores, goal, ratio",
    [
        ([4.0, 1.0], 2.0, 2**0.5),  # of a loss, half way in the logarithm
        ([3.0, 1.0], 1.0, 2.0),
        ([-0.5, -0.9], -0.7, 2**0.5),  # of an accuracy, half way
        ([-0.5, -0.9], -0.6, 2**0.25),
        ([math.inf, 1.0], 2.0, 2.0),  # nothing lies between a run that diverged and another
    ],
)
def test_the_logarithm_of_the_horizon_is_interpolated(scores, goal, ratio):
    assert crossing(scores, [1.0, 2.0], goal) == (pytest.approx(ratio), 0)


def test_a_loss_of_zero_is_reached_within_its_bracket():
    assert 1.0 <= crossing([0.5, 0.0], [1.0, 1.41], 1e-8)[0] <= 1.41


def test_horizons_of_few_steps_that_are_one_are_trained_once():
    plan = matched(
        {"test_loss": [0.1]},
        [Trained(1.0)],
        lambda horizon, _: (max(1.0, round(horizon)), ["run"]),
        lambda _: iter(()),
    )
    asked = [next(plan)]
    try:
        while True:
            asked.append(plan.send([Trained(0.9)]))
    except StopIteration as end:
        scores = end.value["test_loss"]
    assert list(scores) == [1.0, 2.0, 3.0, 4.0] and len(asked) == 3


def test_the_first_crossing_counts():
    assert crossing([4.0, 1.0, 4.0, 1.0], [1.0, 2.0, 4.0, 8.0], 2.0)[0] == pytest.approx(2**0.5)


def test_horizons_are_a_geometric_grid_of_four_either_way():
    assert [b / a for a, b in zip(HORIZONS, HORIZONS[1:])] == pytest.approx([2**0.5] * 8)
    assert (HORIZONS[0], HORIZONS[-1]) == (0.25, 4.0)
    for powers in matching.SIDES.values():
        assert abs(powers[matching.MIDDLE]) == 1.0
