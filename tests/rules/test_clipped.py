"""Norm bounding against its definition, by dense matrices; and for whole runs against dense heads."""

import math

import numpy as np
import pytest
from dense import by_rule
from hypothesis import given
from hypothesis import strategies as st
from robust import BAD, ORDERS, blocks_held, broken, entries, heads, merge, widened
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from tiny import config
from traffic import assert_the_same_anywhere

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.lora import ROWS
from minilte.core.lte import MEAN, lte
from minilte.core.types import Adapter, Linear, Sent
from minilte.laws import LAWS, Case, Variant, oracle, try_law
from minilte.rules.clipped import clipped, fractions
from minilte.steps.adamw import adamw

W = [0.5, 0.2, 0.3]


def length(changes):
    """The length of a head's change, all layers and replicas together."""
    return math.sqrt(sum(float((change**2).sum()) for change in changes))


def by_definition(heads, w, clip_at):
    """heads[n] is the list of a head's changes; sum_n w_n min(1, tau / |D_n|) D_n."""
    lengths = [length(changes) for changes in heads]
    tau = clip_at * sorted(lengths)[(len(lengths) - 1) // 2]
    parts = [w_n * min(1.0, tau / size) for w_n, size in zip(w, lengths)]
    return [sum(part * D for part, D in zip(parts, same)) for same in zip(*heads)]


def new_entries(rule, work):
    return tree.leaves(merge(rule, work))


def changed(rule, work):
    """The merged change, as one vector."""
    return np.concatenate(
        [np.ravel(new - old) for new, old in zip(new_entries(rule, work), tree.leaves(work.weights))]
    )


def assert_close(got, expected):
    for leaf, goal in zip(got, expected, strict=True):
        np.testing.assert_allclose(leaf, goal, rtol=0, atol=1e-12)  # rounding of a few products


@given(st.integers(0, 2**32), st.integers(1, 8), st.booleans(), st.sampled_from([0.3, 1.0, 1.5, 100.0]))
def test_it_is_the_mean_of_changes_that_are_scaled_as_a_whole(seed, N, then, clip_at):
    work = heads(seed, N, then)
    work = work._replace(w=[2 * (n + 1) / (N * (N + 1)) for n in range(N)])
    moves = by_definition(entries(work), work.w, clip_at)
    assert_close(new_entries(clipped(clip_at), work), [old + D for old, D in zip(tree.leaves(work.weights), moves)])


def one_layer(*changes):
    """(work, D_n) of heads with these changes, in a single row and a single bias."""
    sent = [
        Sent({"a": Adapter(np.array([row]), np.ones((1, 1)))}, {"a": Linear(None, np.array([1 + c]))})
        for *row, c in changes
    ]
    scales, w = [{"a": 1.0}] * len(sent), [1 / len(sent)] * len(sent)
    return {"a": Linear(np.zeros((1, 2)), np.ones(1))}, sent, None, scales, w


def test_a_case_by_hand():
    # lengths 3, 6, 9; tau = 6, so the third is scaled by 2/3, its bias with it
    work = one_layer([1.0, 2.0, 2.0], [4.0, 4.0, 2.0], [-3.0, 6.0, 6.0])
    W, c = clipped().merge(None, *work, map)[0]["a"]
    np.testing.assert_allclose(W, [[(1 + 4 - 2) / 3, (2 + 4 + 4) / 3]], atol=1e-15)
    np.testing.assert_allclose(c, [1 + (2 + 2 + 4) / 3], atol=1e-15)
    # of an even number the lower middle one; heads that stand still and what is not finite are not asked
    assert fractions([1.0, 4.0, 2.0, 8.0], 1.0) == [1.0, 0.5, 1.0, 0.25]
    assert fractions([0.0, 0.0, 0.0, 5.0], 1.0) == [1.0] * 4 == fractions([0.0] * 4, 1.0)
    assert (
        fractions([3.0], 1.0) == [1.0] and fractions([3.0], 0.5) == [0.5] and fractions([4.0, 1.0], 2.0) == [0.5, 1.0]
    )


@pytest.mark.parametrize(("N", "clip_at"), [(1, 1.0), (2, 100.0), (5, 100.0)])
def test_where_nothing_is_clipped_it_is_the_mean(N, clip_at):
    work = heads(3, N)
    assert_close(new_entries(clipped(clip_at), work), new_entries(MEAN, work))


def test_of_two_heads_neither_goes_further_than_the_other():
    work = heads(3, 2)
    sizes = [length(changes) for changes in entries(work)]
    mine, other = (
        np.concatenate([np.ravel(D) for D in changes]) * min(sizes) / size
        for changes, size in zip(entries(work), sizes)
    )
    np.testing.assert_allclose(changed(clipped(), work), (mine + other) / 2, atol=1e-13)


@given(st.integers(0, 2**32), ORDERS)
def test_the_order_of_heads_with_equal_shares_changes_nothing_but_rounding(seed, order):
    work = heads(seed, len(order))
    assert_close(new_entries(clipped(), work.of(order)), new_entries(clipped(), work))


def test_heads_that_agree_give_their_common_change():
    work = heads(5, 4).of([2, 2, 2, 2])
    assert_close(new_entries(clipped(), work), new_entries(clipped(), work.of([0])))


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("then", [False, True])
@pytest.mark.parametrize("bad", [*BAD, 1e200])
def test_a_bad_head_among_eight_moves_the_merge_no_further_than_a_sound_one(bad, then):
    work = heads(7, 8, then)
    far = max(length(changes) for changes in entries(work.of(range(7))))
    with_it, still = changed(clipped(), broken(work, 7, bad)), changed(clipped(), broken(work, 7, np.nan))
    # tau is the same: the middle length of seven is the lower middle one of these and a longer one
    assert np.linalg.norm(with_it) <= far and np.linalg.norm(with_it - still) <= far / 8 + 1e-6  # of 1e9, rounding
    # what is not finite, or too large to square, is left out: its share is not given to the others
    seven = work.of(range(7))
    expected = [old + sum(D) / 8 for old, *D in zip(tree.leaves(work.weights), *scaled(seven))]
    for new, goal in zip(new_entries(clipped(), broken(work, 7, np.nan)), expected, strict=True):
        np.testing.assert_allclose(new, goal, rtol=0, atol=1e-12)


def scaled(work):
    """The changes of every head, scaled."""
    sizes = [length(changes) for changes in entries(work)]
    tau = sorted(sizes)[(len(sizes) - 1) // 2]
    return [[min(1.0, tau / size) * D for D in changes] for changes, size in zip(entries(work), sizes)]


def test_where_no_head_is_finite_the_weights_show_it():
    work = broken(broken(heads(7, 2), 0, np.nan), 1, np.nan)
    assert all(np.isnan(leaf).all() for leaf in new_entries(clipped(), work))


def test_no_dense_change_of_a_head_is_held():
    # W anew, and the changes as factors
    assert blocks_held(clipped(), widened(8 * ROWS, 256, 6)) < 8 + 3


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("reset", "clip_at"), [("none", 1.0), ("b", 0.5), ("ab", 1.2)])
def test_it_follows_the_dense_method(reset, clip_at, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, every=every, reset=reset, **extra)
    reference = by_rule(task, plan, W, settings, lambda moves, w: by_definition(moves, w, clip_at), whole=True)
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=clipped(clip_at)), 3), list(reference))


@pytest.mark.parametrize("reset", ["none", "ab"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(reset):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, reset, w=W, rule=clipped()), 3, 10)


def test_frozen_replicas_stay():
    task, _ = make_task(adamw(), 0.01)
    for layers in trajectory(lte(task, make_plan(task), 10, replicas="frozen", rule=clipped()), 3):
        assert all(np.array_equal(c, layer.c) for (_, c), layer in zip(layers, task.weights.values()))


@pytest.mark.parametrize("name", ["L1-one", "L5-memory", "L10", "L10-all", "L15"])
def test_laws_that_hold(name):
    assert try_law(LAWS[name], 8, variant=Variant(rule=clipped())).holds


@pytest.mark.parametrize("name", ["L1", "L2", "L3", "L13"])
def test_laws_that_fall_where_something_is_clipped(name):
    case = Case(widths=(6, 6), ranks=(1, 1, 1), every=1, steps=4, lr=0.05, data="same" if name == "L3" else "own")
    error = lambda rule: LAWS[name].error(case, Variant(rule=rule))  # noqa: E731
    assert error(clipped(1e6)) <= LAWS[name].tolerance < error(clipped())
    assert not clipped().bounded and not clipped().telescopes


def test_its_part():
    assert config(merge_rule="clipped").clip_at == 1.0 == config(merge_rule="outer", outer_over="clipped").clip_at
    with pytest.raises(BadInput, match="^clip-at: expected a number above 0, got 0"):
        config(merge_rule="clipped", clip_at=0)
