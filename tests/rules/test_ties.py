"""TIES against its definition, written out entry by entry; and for whole runs against dense heads."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dense import by_rule
from hypothesis import given
from hypothesis import strategies as st
from support import OPTIMIZERS, assert_same, make_plan, make_task, trajectory
from traffic import assert_the_same_anywhere

from minilte.core.lora import ROWS
from minilte.core.lte import lte
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.laws import oracle
from minilte.rules.ties import plus_elected, ties
from minilte.steps.adamw import adamw

W = [0.5, 0.2, 0.3]


def elected(moves, w, density):
    """The merged change, one number after the other; no two magnitudes of a move are equal."""
    merged = np.zeros_like(moves[0])
    kept = []
    for D in moves:
        sizes = sorted(abs(D).ravel(), reverse=True)
        least = sizes[max(1, math.ceil(density * D.size)) - 1]
        kept.append([[d if abs(d) >= least else 0.0 for d in row] for row in D])
    for i, j in np.ndindex(merged.shape):
        entries = [(w_n, D[i][j]) for w_n, D in zip(w, kept, strict=True)]
        total = sum(w_n * d for w_n, d in entries)
        agree = [(w_n, d) for w_n, d in entries if (d > 0) == (total > 0) and d != 0 and total != 0]
        if agree:
            merged[i, j] = sum(w_n * d for w_n, d in agree) / sum(w_n for w_n, _ in agree)
    return merged


sizes, seeds = st.integers(1, 6), st.integers(0, 2**32)


def drawn(seed, m, n, ranks):
    draw = stream(seed, "check").standard_normal
    return draw((m, n)), [Adapter(draw((r, n)), draw((m, r))) for r in ranks]


@given(
    seeds, sizes, sizes, st.lists(st.integers(1, 3), min_size=1, max_size=4), st.sampled_from([0.1, 0.2, 0.5, 1.0])
)
def test_entry_by_entry_it_is_the_mean_of_those_that_agree(seed, m, n, ranks, density):
    start, moves = drawn(seed, m, n, ranks)
    w = np.arange(1.0, len(ranks) + 1) / sum(range(len(ranks) + 1))
    got = plus_elected(start, moves, w, density)
    # 1e-12: rounding of a few products
    np.testing.assert_allclose(got, start + elected([pair.B @ pair.A for pair in moves], w, density), atol=1e-12)


def one_row(*moves):
    return [Adapter(np.array([move], float), np.ones((1, 1))) for move in moves]


def test_a_case_by_hand():
    moves, w = one_row([5.0, -3.0, 1.0, 0.5], [-2.0, -4.0, 3.0, 0.1]), [0.5, 0.5]
    # half is kept: [5, -3, 0, 0] and [0, -4, 3, 0]; where a single head speaks its change counts in full
    assert plus_elected(np.zeros((1, 4)), moves, w, 0.5).tolist() == [[5.0, -3.5, 3.0, 0.0]]
    # all is kept: 5 outvotes -2, of equal shares; the fourth is the mean
    np.testing.assert_allclose(plus_elected(np.zeros((1, 4)), moves, w, 1.0), [[5.0, -3.5, 2.0, 0.3]], atol=1e-15)
    # with another share -2 outvotes 5
    np.testing.assert_allclose(plus_elected(np.zeros((1, 4)), moves, [0.1, 0.9], 1.0)[0, 0], -2.0, atol=1e-15)
    # a density of nothing keeps the largest
    assert plus_elected(np.zeros((1, 4)), moves, w, 1e-9).tolist() == [[5.0, -4.0, 0.0, 0.0]]


def test_votes_that_cancel_elect_nothing_and_heads_that_stand_still_do_not_vote():
    moves = one_row([2.0, 1.0], [-2.0, 3.0])
    assert plus_elected(np.ones((1, 2)), moves, [0.5, 0.5], 1.0).tolist() == [[1.0, 3.0]]
    still = one_row([2.0, 1.0], [0.0, 0.0])
    assert plus_elected(np.ones((1, 2)), still, [0.5, 0.5], 1.0).tolist() == [[3.0, 2.0]]
    assert plus_elected(np.ones((1, 2)), still[1:], [1.0], 1.0).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("m", [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 88])
def test_blocks_of_rows_are_trimmed_as_a_whole_with_the_same_bits_on_any_threads(m):
    start, moves = drawn(m, m, 7, [2, 1])
    whole = plus_elected(start, moves, [0.4, 0.6], 0.3)
    expected = start + elected([pair.B @ pair.A for pair in moves], [0.4, 0.6], 0.3)
    np.testing.assert_allclose(whole, expected, atol=1e-12)  # rounding
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(plus_elected(start, moves, [0.4, 0.6], 0.3, pool.map), whole)


# ---------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("reset", "density"), [("none", 0.3), ("b", 0.5), ("ab", 1.0)])
def test_it_follows_the_dense_method(reset, density, every, name):
    optimizer, lr, extra = OPTIMIZERS[name]
    task, _ = make_task(optimizer, lr)
    plan = make_plan(task)
    settings = oracle.Settings(task.rate, every=every, reset=reset, **extra)
    reference = by_rule(task, plan, W, settings, lambda moves, w: elected(moves, w, density))
    assert_same(trajectory(lte(task, plan, every, reset, w=W, rule=ties(density)), 3), list(reference))


@pytest.mark.parametrize("reset", ["none", "ab"])
def test_bits_and_bytes_do_not_depend_on_processes_and_meeting(reset):
    task, _ = make_task(adamw(weight_decay=0.1), 0.01)
    assert_the_same_anywhere(lte(task, make_plan(task), 4, reset, w=W, rule=ties(0.4)), 3, 10)


def test_without_trimming_one_head_alone_is_the_mean():
    task, _ = make_task(adamw(), 0.01, heads=1)
    plan = make_plan(task, [2])
    assert_same(trajectory(lte(task, plan, 3, rule=ties(1.0)), 1), trajectory(lte(task, plan, 3), 1))


def test_it_bounds_no_rank():
    assert not ties().bounded
