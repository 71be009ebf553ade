"""A grid is tried whole, then widens where its best stands on an edge; what is found is never worse than a neighbour."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.compare import tuning
from minilte.compare.trial import Outcome
from minilte.compare.tuning import WIDER, neighbours, tuned, widened

AXES = {"lr": [1e-3, 2e-3, 4e-3], "weight_decay": [0.0, 0.1]}


def found(f, axes=AXES, admits=lambda point: True):
    """What a plan finds where a run is its point and the score f of it; and the rounds in which it asked."""
    plan = tuned(axes, lambda point: ([point], lambda outcomes: f(outcomes[0])), admits)
    asked = [next(plan)]
    try:
        while True:
            asked.append(plan.send(asked[-1]))
    except StopIteration as end:
        return end.value, asked


def bowl(lr, decay):
    """Least at lr and decay, in the logarithms; a decay of zero is far below any other."""
    at = lambda value: math.log2(value) if value else -20.0  # noqa: E731
    return lambda point: (at(point["lr"]) - at(lr)) ** 2 + (at(point["weight_decay"]) - at(decay)) ** 2


def test_the_whole_grid_is_tried_first_and_a_best_inside_asks_for_its_neighbours_alone():
    best, (first, *rest) = found(bowl(2e-3, 0.0))
    assert first == [{"lr": lr, "weight_decay": decay} for lr in AXES["lr"] for decay in AXES["weight_decay"]]
    assert best.best == {"lr": 2e-3, "weight_decay": 0.0} and best.edges == []
    assert rest == [[{"lr": lr, "weight_decay": 0.05} for lr in AXES["lr"]]]  # one more above zero, and no further


@pytest.mark.parametrize("lr", [1.6e-2, 3.2e-2, 1.25e-4])
@pytest.mark.parametrize("decay", [0.0, 0.0125, 0.05, 0.1, 0.4])
def test_a_best_beyond_the_grid_is_found_and_inside_what_was_tried(lr, decay):
    best, _ = found(bowl(lr, decay))
    assert best.best["lr"] == pytest.approx(lr) and best.best["weight_decay"] == pytest.approx(decay)
    assert best.edges == [] and best.score == pytest.approx(0.0, abs=1e-6)
    rates = {point["lr"] for point, _ in best.grid}
    assert min(rates) < best.best["lr"] < max(rates)


@given(st.integers(0, 2**32 - 1))
def test_no_neighbour_of_the_best_is_better_whatever_the_scores(seed):
    f = lambda point: math.sin(seed + 3 * math.log2(point["lr"]) + 50 * point["weight_decay"])  # noqa: E731
    best, _ = found(f)
    scores = {tuple(point.values()): score for point, score in best.grid}
    values = [sorted({point[k] for point in scores}) for k in range(2)]
    place = tuple(best.best.values())
    beside = [(a, b) for a in neighbours(values[0], place[0]) for b in neighbours(values[1], place[1])]
    assert best.score == min(scores.values())
    assert all(scores[point] >= best.score for point in beside if point in scores)
    if not best.edges:  # then all around it was tried
        assert all(point in scores for point in beside)


def test_what_still_falls_at_the_end_of_an_axis_is_said():
    best, _ = found(lambda point: -point["lr"])
    assert len({point["lr"] for point, _ in best.grid}) == 3 + WIDER
    assert best.edges == [f"lr {4e-3 * 2**WIDER:g} is the largest that was tried"]
    best, _ = found(lambda point: point["lr"])
    assert best.edges == [f"lr {float(f'{1e-3 / 2**WIDER:.4g}'):g} is the smallest that was tried"]


def test_a_decay_between_zero_and_the_least_of_the_grid_is_found_and_its_end_is_said():
    best, _ = found(lambda point: abs(point["weight_decay"] - 0.04) + abs(point["lr"] - 2e-3))
    assert best.best["weight_decay"] == 0.05 and best.edges == []
    best, _ = found(lambda point: (point["weight_decay"] or 1.0) + abs(point["lr"] - 2e-3))
    assert best.edges == [f"weight_decay {best.best['weight_decay']:g} is the smallest above zero that was tried"]


def test_an_axis_ends_where_the_settings_refuse():
    best, asked = found(lambda point: -point["lr"], admits=lambda point: point["lr"] < 1e-2)
    assert best.best["lr"] == 8e-3 and max(point["lr"] for point in sum(asked, [])) == 8e-3
    assert best.edges == ["lr 0.008 is the largest that was tried"]


def test_where_all_diverge_lower_rates_are_tried():
    best, _ = found(lambda point: math.inf if point["lr"] > 2e-4 else 1.0)
    assert best.best["lr"] <= 2e-4 and best.score == 1.0


def test_several_runs_a_point_are_judged_together():
    plan = tuned({"lr": [1.0, 2.0]}, lambda point: ([point["lr"], -point["lr"]], sum), lambda point: False)
    assert next(plan) == [1.0, -1.0, 2.0, -2.0]
    with pytest.raises(StopIteration) as end:
        plan.send([5.0, 5.0, 1.0, 2.0])
    assert end.value.value.best == {"lr": 2.0} and end.value.value.score == 3.0


@pytest.mark.parametrize(
    "values, best, grown",
    [
        ([1e-3, 2e-3], 2e-3, [1e-3, 2e-3, 4e-3]),
        ([1e-3, 2e-3], 1e-3, [5e-4, 1e-3, 2e-3]),
        ([0.0, 0.1, 0.3], 0.3, [0.0, 0.1, 0.3, 0.9]),
        ([0.0, 0.1, 0.3], 0.0, [0.0, 0.03333, 0.1, 0.3]),
        ([0.0, 0.1, 0.3], 0.1, [0.0, 0.03333, 0.1, 0.3]),
        ([0.0, 0.1], 0.1, [0.0, 0.05, 0.1, 0.2]),
        ([2, 4], 4, [2, 4, 8]),
        ([1, 2, 3], 2, [1, 2, 3]),
        ([0.5], 0.5, [0.25, 0.5, 1.0]),
    ],
)
def test_an_axis_grows_as_it_began(values, best, grown):
    assert widened(values, values, best) == pytest.approx(grown)


def test_a_diverged_run_is_worse_than_any_score_and_an_accuracy_is_better_the_higher():
    good, worse = (
        Outcome([{"valid_loss": loss, "valid_accuracy": right}], 0, 0.0, "") for loss, right in ((1, 0.9), (2, 0.5))
    )
    gone = Outcome([], 0, 0.0, "", "diverged")
    loss, accuracy = (tuning.mean_score(name) for name in ("valid_loss", "valid_accuracy"))
    assert loss([good, worse]) == 1.5 and loss([good]) < loss([worse]) < loss([good, gone]) == math.inf
    assert accuracy([good]) < accuracy([worse]) < accuracy([gone])
