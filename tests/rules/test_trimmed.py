"""The trimmed mean against its definition, written out entry by entry; and for whole runs against dense heads."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dense import by_rule
from hypothesis import given
from hypothesis import strategies as st
from robust import BAD, ORDERS, blocks_held, broken, entries, heads, merge, spread, widened
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from tiny import config
from traffic import assert_the_same_anywhere

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.lora import ROWS
from minilte.core.lte import MEAN, lte
from minilte.laws import LAWS, Case, Variant, oracle, try_law
from minilte.rules.median import MEDIAN
from minilte.rules.trimmed import inner_mean, trimmed
from minilte.steps.adamw import adamw

W = [0.5, 0.2, 0.3]
THIRD = trimmed(0.4)  # of three heads one at either end


def by_definition(changes, w, trim):
    """What is left of each entry, one number after the other; no two values of an entry are equal."""
    merged, k = np.empty_like(changes[0]), math.floor(trim * len(changes))
    for place in np.ndindex(merged.shape):
        pairs = sorted((float(change[place]), w_n) for change, w_n in zip(changes, w))
        left = pairs[k : len(pairs) - k]
        merged[place] = sum(w_n * d for d, w_n in left) / sum(w_n for _, w_n in left)
    return merged


def new_entries(rule, work):
    return tree.leaves(merge(rule, work))


def assert_close(got, expected):
    for leaf, goal in zip(got, expected, strict=True):
        np.testing.assert_allclose(leaf, goal, rtol=0, atol=1e-12)  # rounding of a few products


@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.34, 0.49]))
def test_entry_by_entry_it_is_the_mean_of_what_is_left_of_weights_and_replicas(seed, N, then, trim):
    work = heads(seed, N, then)
    work = work._replace(w=[2 * (n + 1) / (N * (N + 1)) for n in range(N)])
    moves = [by_definition(list(same), work.w, trim) for same in zip(*entries(work))]
    assert_close(new_entries(trimmed(trim), work), [old + D for old, D in zip(tree.leaves(work.weights), moves)])


def test_a_case_by_hand():
    values, w = np.array([[9.0, -1.0], [1.0, -7.0], [2.0, 3.0], [4.0, 5.0]]), [0.1, 0.2, 0.3, 0.4]
    np.testing.assert_allclose(inner_mean(values, w, 0.25), [(0.6 + 1.6) / 0.7, (-0.1 + 0.9) / 0.4], atol=1e-15)
    np.testing.assert_allclose(inner_mean(values, w, 0.24), [3.3, 1.4], atol=1e-15)  # k = 0
    assert inner_mean(values, [0.25] * 4, 0.49).tolist() == [3.0, 1.0]
    assert inner_mean(np.array([1.0, np.nan, -np.inf, 3.0, 2.0]), [0.2] * 5, 0.2) == 2.0  # NaN is the largest
    # a head without a share has no say, and is none of N
    assert inner_mean(np.array([1.0, 2.0, 60.0, 50.0]), [0.5, 0.5, 0.0, 0.0], 0.25) == 1.5
    assert inner_mean(values[:1], [1.0], 0.49).tolist() == [9.0, -1.0]


@pytest.mark.parametrize(("N", "trim"), [(1, 0.49), (2, 0.49), (3, 0.25), (8, 0.12), (8, 0.0)])
def test_where_nothing_is_left_out_it_is_the_mean_up_to_rounding(N, trim):
    work = heads(3, N)
    work = work._replace(w=[2 * (n + 1) / (N * (N + 1)) for n in range(N)])
    assert_close(new_entries(trimmed(trim), work), new_entries(MEAN, work))


@pytest.mark.parametrize("N", range(1, 9))
def test_of_equal_shares_with_all_but_the_middle_left_out_it_is_the_median(N):
    work = heads(4, N)
    assert_close(new_entries(trimmed(0.4999), work), new_entries(MEDIAN, work))


@given(st.integers(0, 2**32), ORDERS)
def test_the_order_of_heads_with_equal_shares_changes_no_bit(seed, order):
    work = heads(seed, len(order))
    for got, same in zip(new_entries(trimmed(), work.of(order)), new_entries(trimmed(), work), strict=True):
        assert np.array_equal(got, same)


def test_heads_that_agree_give_their_common_change():
    work = heads(5, 4).of([2, 2, 2, 2])
    assert_close(new_entries(trimmed(), work), new_entries(trimmed(), work.of([0])))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("then", [False, True])
@pytest.mark.parametrize("bad", BAD)
def test_bad_heads_up_to_k_leave_the_result_among_the_others(bad, then):
    work = heads(7, 8, then)
    low, high = spread(work.of([1, 2, 3, 4, 5, 6]))
    new = merge(trimmed(0.25), broken(broken(work, 7, bad), 0, np.nan))
    for old, least, leaf, most in zip(*map(tree.leaves, (work.weights, low, new, high)), strict=True):
        assert ((least <= leaf - old) & (leaf - old <= most)).all()


def test_blocks_of_rows_have_the_same_bits_on_any_threads_and_are_all_that_is_held():
    work = widened(2 * ROWS + 88, 7, 5)
    new = merge(trimmed(), work)
    moves = by_definition([moves[0] for moves in entries(work)], work.w, 0.25)
    np.testing.assert_allclose(new["layer1"].W - work.weights["layer1"].W, moves, atol=1e-12)
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(merge(trimmed(), work, pool.map)["layer1"].W, new["layer1"].W)
    # W anew, of a block the values of each head, those once more and their order, and the changes as factors
    assert blocks_held(trimmed(), widened(8 * ROWS, 256, 6)) < 8 + 3 * 6 + 8 < 6 * 8


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("reset", "trim"), [("none", 0.4), ("b", 0.25), ("ab", 0.34)])
def test_it_follows_the_dense_method(reset, trim, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, every=every, reset=reset, **extra)
    goal = lambda moves, w: [by_definition(list(same), w, trim) for same in zip(*moves)]  # noqa: E731
    reference = by_rule(task, plan, W, settings, goal, whole=True)
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=trimmed(trim)), 3), list(reference))


@pytest.mark.parametrize("reset", ["none", "ab"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(reset):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, reset, w=W, rule=THIRD), 3, 10)


@pytest.mark.parametrize("name", ["L1-one", "L10", "L10-all", "L15"])
def test_laws_that_hold(name):
    assert try_law(LAWS[name], 8, variant=Variant(rule=THIRD)).holds


@pytest.mark.parametrize("name", ["L1", "L2", "L3", "L13"])
def test_laws_that_fall_where_something_is_left_out(name):
    case = Case(widths=(6, 6), ranks=(1, 1, 1), every=1, steps=4, lr=0.05, data="same" if name == "L3" else "own")
    error = lambda rule: LAWS[name].error(case, Variant(rule=rule))  # noqa: E731
    assert error(trimmed(0.25)) <= LAWS[name].tolerance < error(THIRD)  # of three heads a quarter is none
    assert not THIRD.bounded and not THIRD.telescopes


def test_its_part():
    assert config(merge_rule="trimmed").trim == 0.25 == config(merge_rule="outer", outer_over="trimmed").trim
    for trim in (-0.1, 0.5):
        with pytest.raises(BadInput, match="^trim: expected a number (of at least 0|below 0.5), got"):
            config(merge_rule="trimmed", trim=trim)


def test_what_is_left_out_is_counted_as_the_decimals_say():
    values = np.arange(100.0)[:, None]
    values[28] = 1e6  # the 29th from below goes, wherever it stands
    ordered = np.sort(values[:, 0])
    assert inner_mean(values, [0.01] * 100, 0.29)[0] == pytest.approx(ordered[29:71].mean(), rel=1e-12)
