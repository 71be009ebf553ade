"""The merge against the dense mean, and what it may not do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import tree
from minilte.core.lora import product
from minilte.core.errors import BadInput
from minilte.core.merge import mean, merged, shares
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Sent

sizes, seeds = st.integers(1, 5), st.integers(0, 2**32)


def problem(seed, m, n, ranks):
    draw = stream(seed, "check").standard_normal
    adapter = lambda r: {"layer1": Adapter(draw((r, n)), draw((m, r)))}  # noqa: E731
    weights = {"layer1": Linear(draw((m, n)), draw(m))}
    sent = [Sent(adapter(r), {"layer1": Linear(None, draw(m))}) for r in ranks]
    then = [adapter(r) for r in ranks]
    scales = [{"layer1": 0.5 + i} for i in range(len(ranks))]
    w = np.abs(draw(len(ranks))) + 0.1
    return weights, sent, then, scales, list(w / w.sum())


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=4), st.booleans())
def test_a_merge_adds_the_weighted_mean_of_what_is_new(seed, m, n, ranks, before):
    weights, sent, then, scales, w = problem(seed, m, n, ranks)
    new = merged(weights, sent, then if before else None, scales, w)["layer1"]
    W = weights["layer1"].W + sum(
        w_n * s["layer1"] * (product(head.now["layer1"]) - (product(old["layer1"]) if before else 0))
        for w_n, s, head, old in zip(w, scales, sent, then)
    )
    # 1e-11: rounding of four products of numbers up to 10, scaled by up to 3.5
    np.testing.assert_allclose(new.W, W, atol=1e-11)
    np.testing.assert_allclose(new.c, sum(w_n * head.replica["layer1"].c for w_n, head in zip(w, sent)), atol=1e-12)


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=4))
def test_merging_what_was_merged_before_changes_nothing_exactly(seed, m, n, ranks):
    weights, sent, _, scales, w = problem(seed, m, n, ranks)
    again = merged(weights, sent, [head.now for head in sent], scales, w)
    assert np.array_equal(again["layer1"].W, weights["layer1"].W)


@given(seeds, sizes, sizes, st.lists(sizes, min_size=2, max_size=4))
def test_the_order_of_the_heads_matters_only_for_rounding(seed, m, n, ranks):
    weights, *each = problem(seed, m, n, ranks)
    a, b = merged(weights, *each), merged(weights, *(list(part)[::-1] for part in each))
    for x, y in zip(tree.leaves(a), tree.leaves(b)):
        np.testing.assert_allclose(x, y, atol=1e-11)  # as above


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=3))
def test_nothing_passed_in_is_changed(seed, m, n, ranks):
    everything = problem(seed, m, n, ranks)
    before = [leaf.copy() for leaf in tree.leaves(everything[:3])]
    merged(*everything)
    assert all(np.array_equal(x, y) for x, y in zip(tree.leaves(everything[:3]), before))


@pytest.mark.parametrize("w", [[0.5, 0.4], [1.0], [0.5, 0.5, 0.0], [float("nan"), 1.0]])
def test_shares_that_do_not_sum_to_one_are_refused(w):
    with pytest.raises(BadInput, match="2 shares that sum to 1"):
        shares(2, w)


def test_every_head_needs_a_share_and_a_scale():
    weights, sent, then, scales, w = problem(0, 2, 3, [1, 1])
    for few in ((weights, sent, then, scales[:1], w), (weights, sent, then, scales, w[:1])):
        with pytest.raises(ValueError):
            merged(*few)


def test_a_mean_needs_a_share_for_every_tree():
    for w in ([0.5], [0.5, 0.25, 0.25]):
        with pytest.raises(ValueError):
            mean([np.ones(2), np.ones(2)], w)


def test_shares_are_even_unless_given():
    assert shares(4) == [0.25] * 4 and shares(2, [0.75, 0.25]) == [0.75, 0.25]


def test_a_mean_is_added_in_head_order():
    x = [np.float32([1e8]), np.float32([-1e8]), np.float32([1.0])]
    assert mean(x, [1.0, 1.0, 1.0]) == 1 and mean(x[::-1], [1.0, 1.0, 1.0]) == 0
