"""The median against its definition, written out entry by entry; and for whole runs against dense heads."""

import statistics
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny
from dense import by_rule
from hypothesis import given
from hypothesis import strategies as st
from robust import BAD, ORDERS, blocks_held, broken, entries, heads, merge, spread, widened
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core import tree
from minilte.core.errors import BadInput, Diverged
from minilte.core.lora import ROWS
from minilte.core.lte import MEAN, lte
from minilte.laws import LAWS, Case, Variant, oracle, try_law
from minilte.rules.median import MEDIAN, middle
from minilte.steps.adamw import adamw

EQUAL = [1 / 3] * 3


def by_definition(changes, w=None):
    """The median of each entry, one number after the other."""
    merged = np.empty_like(changes[0])
    for place in np.ndindex(merged.shape):
        merged[place] = statistics.median(float(change[place]) for change in changes)
    return merged


@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans())
def test_entry_by_entry_it_is_the_median_of_weights_and_replicas(seed, N, then):
    work = heads(seed, N, then)
    expected = [
        old + by_definition(list(moves)) for old, moves in zip(tree.leaves(work.weights), zip(*entries(work)))
    ]
    for got, goal in zip(tree.leaves(merge(MEDIAN, work)), expected, strict=True):
        np.testing.assert_allclose(got, goal, rtol=0, atol=1e-12)  # rounding of a few products


def test_a_case_by_hand():
    odd, even = np.array([[5.0, -1.0], [1.0, -7.0], [2.0, 3.0]]), np.array([[4.0], [1.0], [100.0], [2.0]])
    assert middle(odd).tolist() == [2.0, -1.0] and middle(even).tolist() == [3.0]
    assert middle(odd[:1]).tolist() == [5.0, -1.0] and middle(odd[:2]).tolist() == [3.0, -4.0]
    assert odd.tolist() == [[5.0, -1.0], [1.0, -7.0], [2.0, 3.0]]  # as they were
    assert middle(np.array([1.0, np.nan, -np.inf])) == 1.0  # NaN is the largest


@pytest.mark.parametrize("N", [1, 2])
def test_of_one_head_and_of_two_it_is_the_mean(N):
    work = heads(3, N)
    for got, goal in zip(tree.leaves(merge(MEDIAN, work)), tree.leaves(merge(MEAN, work)), strict=True):
        np.testing.assert_allclose(got, goal, rtol=0, atol=1e-13)  # rounding of a few products


@given(st.integers(0, 2**32), ORDERS)
def test_the_order_of_heads_changes_no_bit(seed, order):
    work = heads(seed, len(order))
    assert tree.map(np.array_equal, merge(MEDIAN, work), merge(MEDIAN, work.of(order))) == tree.map(
        lambda leaf: True, work.weights
    )


def test_heads_that_agree_give_their_common_change():
    work = heads(5, 4).of([2, 2, 2, 2])
    alone = merge(MEDIAN, work.of([0]))
    assert all(map(np.array_equal, tree.leaves(merge(MEDIAN, work)), tree.leaves(alone)))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("then", [False, True])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_head_among_eight_leaves_the_result_among_the_others(bad, then):
    work = heads(7, 8, then)
    low, high = spread(work.of(range(7)))
    new = merge(MEDIAN, broken(work, 7, bad))
    for old, least, leaf, most in zip(*map(tree.leaves, (work.weights, low, new, high)), strict=True):
        assert ((least <= leaf - old) & (leaf - old <= most)).all()


@pytest.mark.parametrize("m", [ROWS - 1, ROWS, 2 * ROWS + 88])
def test_blocks_of_rows_have_the_same_bits_on_any_threads(m):
    work = widened(m, 7, 5)
    new = merge(MEDIAN, work)
    np.testing.assert_allclose(
        new["layer1"].W - work.weights["layer1"].W, by_definition([moves[0] for moves in entries(work)]), atol=1e-12
    )
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(merge(MEDIAN, work, pool.map)["layer1"].W, new["layer1"].W)


def test_of_many_rows_only_a_block_of_every_head_is_held():
    work = widened(8 * ROWS, 256, 6)
    # W anew, two blocks of each head, and the changes as factors; as dense matrices they would be 6 * 8 blocks
    assert blocks_held(MEDIAN, work) < 8 + 2 * 6 + 3


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("reset", ["none", "b", "ab"])
def test_it_follows_the_dense_method(reset, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, every=every, reset=reset, **extra)
    goal = lambda moves, w: [by_definition(list(same)) for same in zip(*moves)]  # noqa: E731
    reference = by_rule(task, plan, EQUAL, settings, goal, whole=True)
    assert_same(trajectory(lte(task, plan, every, reset, rule=MEDIAN), 3), list(reference))


@pytest.mark.parametrize("reset", ["none", "ab"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(reset):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, reset, rule=MEDIAN), 3, 10)


@pytest.mark.parametrize("name", ["L1-one", "L10", "L10-all", "L15"])
def test_laws_that_hold(name):
    assert try_law(LAWS[name], 8, variant=Variant(rule=MEDIAN)).holds


@pytest.mark.parametrize("name", ["L1", "L2", "L3", "L13"])
def test_laws_that_fall(name):
    case = Case(widths=(6, 6), ranks=(1, 1, 1), every=1, steps=4, lr=0.05, data="same" if name == "L3" else "own")
    assert LAWS[name].error(case, Variant()) <= LAWS[name].tolerance < LAWS[name].error(case, Variant(rule=MEDIAN))
    assert not MEDIAN.bounded and not MEDIAN.telescopes


@pytest.mark.parametrize("rule", ["clipped", "trimmed", "median"])
def test_a_head_that_is_not_finite_still_stops_the_run_or_counts_as_one_that_stood_still(rule):
    stop, skip = (tiny.session(merge_rule=rule, heads=4, bad_heads=guard).built.method for guard in ("stop", "skip"))
    main = stop.begin()
    said = [stop.tell(stop.local(main, stop.enter(n), 0, 2)) for n in range(4)]
    bad = [*said[:3], tree.map(lambda leaf: leaf * np.nan, said[3])]
    with pytest.raises(Diverged, match="head 3: its factors are no longer finite"):
        stop.merge(main, bad, 2, map)
    got, goal = (
        skip.merge(skip.begin(), bad, 2, map),
        stop.merge(main, [*said[:3], stop.facts.still(main, 3, bad[3])], 2, map),
    )
    assert got.trust.tolist() == [1, 1, 1, 0] and np.array_equal(
        got.main.weights["layer1"].W, goal.weights["layer1"].W
    )
    with pytest.raises(BadInput, match=f"^merge-rule {rule}: needs what every head sends, one by one"):
        tiny.config(merge_rule=rule, topology="allreduce")


@pytest.mark.parametrize("chosen", [dict(merge_rule="median"), dict(merge_rule="outer", outer_over="median")])
def test_unequal_shares_are_refused_and_equal_ones_are_not(chosen):
    assert tiny.config(shares=(0.5, 0.5), **chosen)
    with pytest.raises(
        BadInput, match=r"^shares: (merge-rule|outer-over) median has no weights, .* got \(0.7, 0.3\)$"
    ):
        tiny.config(shares=(0.7, 0.3), **chosen)
