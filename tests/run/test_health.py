"""What has run away ends a run; what comes back, or starts at a solution, does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import Diverged
from minilte.run.health import PATIENT, RUNAWAY, Health, leapt, refuse_infinite, refuse_runaway, refuse_worse, stalled


def test_a_loss_that_stays_ten_times_the_first_ends_the_run_and_one_that_comes_back_does_not():
    health = Health()
    for loss in (2.0, 25.0, 25.0, 1.0, 25.0, 25.0):
        health = refuse_runaway(health, 5, [loss, loss], silent=1.0)
    assert health == Health(2.0, 2)
    with pytest.raises(Diverged, match="the loss is 25 at step 7, after 2 at the first merge; lower --lr") as caught:
        refuse_runaway(health, 7, [25.0], silent=1.0)
    assert caught.value.agreed


@given(st.floats(0, 1e-3), st.lists(st.floats(0, 9.9), max_size=20))
def test_a_run_that_starts_at_a_solution_may_go_up_to_what_saying_nothing_costs(first, losses):
    health = Health()
    for loss in (first, *losses):
        health = refuse_runaway(health, 1, [loss], silent=1.0)
    assert health.runaway == 0


@given(st.floats(0.1, 10), st.floats(1.01, 100))
def test_only_so_many_in_a_row_end_a_run(first, times):
    health = refuse_runaway(Health(), 1, [first], silent=0.0)
    for _ in range(PATIENT - 1):
        health = refuse_runaway(health, 1, [first * RUNAWAY * times], silent=0.0)
    with pytest.raises(Diverged):
        refuse_runaway(health, 1, [first * RUNAWAY * times], silent=0.0)
    assert refuse_runaway(health, 1, [first], silent=0.0).runaway == 0


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("agreed", [True, False])
def test_a_loss_that_is_not_finite_is_named(loss, agreed):
    with pytest.raises(Diverged, match="head 1: the loss is (nan|inf|-inf) at step 3") as caught:
        refuse_infinite(3, {"head 0": 1.0, "head 1": loss}, agreed)
    assert caught.value.agreed is agreed


def test_a_run_that_no_longer_improves_is_noticed_and_one_that_does_is_not():
    made = lambda *losses: [(10 * i, loss) for i, loss in enumerate(losses)]  # noqa: E731
    assert stalled(made(5, 4, 3, 2, 1, 0.5, 0.4), 60) is None
    assert stalled(made(5, 1, 2, 2, 2, 2, 2), 60) == 10
    assert stalled(made(5, 1, 2, 2, 2, 2, 2), 600) is None  # not for a quarter of the run yet
    assert stalled(made(5, 1, 2, 2, 2, 2), 60) is None and stalled([], 60) is None  # too few evaluations


def test_an_update_ten_times_the_largest_before_is_noticed_once_there_are_some():
    assert not leapt([], 1e9) and not leapt([1.0], 1e9)
    assert leapt([1.0, 2.0], 20.1) and not leapt([1.0, 2.0], 20.0)
    assert not leapt([0.0, 0.0], 1.0)  # a run that stood still may begin to move


@given(st.floats(0, 10), st.floats(0, 10), st.floats(1.01, 1e6))
def test_a_run_of_however_few_merges_does_not_end_with_a_loss_that_ran_away(start, silent, times):
    worst = RUNAWAY * max(start, silent, 1e-3)
    health = Health(start=start)
    refuse_worse(health, 2, RUNAWAY * max(start, silent), silent)
    with pytest.raises(
        Diverged, match="the training loss is .* at the end, step 2, after .* at the start; lower --lr"
    ):
        refuse_worse(health, 2, worst * times, silent)


def test_the_end_is_judged_where_both_losses_are_known():
    refuse_worse(Health(), 2, 1e9, 1.0)
    refuse_worse(Health(start=1.0), 2, None, 1.0)


def test_finite_losses_whose_sum_overflows_are_no_finite_loss():
    with pytest.raises(Diverged, match="mean of the heads: the loss is inf at step 5"):
        refuse_runaway(Health(), 5, [1e308, 1e308], silent=1.0)
