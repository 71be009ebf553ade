"""The merge against the dense mean, and what it may not do."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import tree
from minilte.core.lora import product
from minilte.core.errors import BadInput
from minilte.core.merge import ROWS, mean, merged, plus_products, shares
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
        w_n * s["layer1"] * (product(head.factors["layer1"]) - (product(old["layer1"]) if before else 0))
        for w_n, s, head, old in zip(w, scales, sent, then)
    )
    # 1e-11: rounding of four products of numbers up to 10, scaled by up to 3.5
    np.testing.assert_allclose(new.W, W, atol=1e-11)
    np.testing.assert_allclose(new.c, sum(w_n * head.replicas["layer1"].c for w_n, head in zip(w, sent)), atol=1e-12)


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=4))
def test_merging_what_was_merged_before_changes_nothing_exactly(seed, m, n, ranks):
    weights, sent, _, scales, w = problem(seed, m, n, ranks)
    again = merged(weights, sent, [head.factors for head in sent], scales, w)
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


@pytest.mark.parametrize(
    "w", [[0.5, 0.4], [1.0], [0.5, 0.5, 0.0], [float("nan"), 1.0], [1.0, float("nan")], [1.5, -0.5]]
)
def test_shares_that_do_not_sum_to_one_are_refused(w):
    with pytest.raises(BadInput, match="2 shares of at least 0 that sum to 1"):
        shares(2, w)


@pytest.mark.parametrize("m", [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 88])
def test_blocks_of_rows_cover_the_product_with_the_same_bits_on_any_threads(m):
    draw = stream(m, "check").standard_normal
    W, B, A = (draw(shape).astype(np.float32) for shape in ((m, 33), (m, 5), (5, 33)))
    whole = plus_products(W, [Adapter(A, B)], [1.0])
    np.testing.assert_allclose(whole, W + B @ A, atol=2e-5)  # float32 sums of five products of size 10
    with ThreadPoolExecutor(2) as pool:
        assert np.array_equal(plus_products(W, [Adapter(A, B)], [1.0], pool.map), whole)


def test_a_block_of_the_product_is_its_own_rows_and_no_others():
    draw = stream(0, "check").standard_normal
    W, B, A = draw((2 * ROWS, 3)), draw((2 * ROWS, 2)), draw((2, 3))
    whole = plus_products(W, [Adapter(A, B)], [1.0])
    half = plus_products(W, [Adapter(A, B)], [1.0], lambda f, items: [f(list(items)[1])])  # the second block alone
    assert np.array_equal(half[ROWS:], whole[ROWS:]) and not np.array_equal(half[:ROWS], whole[:ROWS])


def test_a_merge_in_low_precision_keeps_a_small_change():
    draw = stream(0, "check").standard_normal
    then = Adapter(draw((4, 64)).astype("f4"), draw((64, 4)).astype("f4"))
    now = tree.map(lambda leaf: leaf * (1 + 1e-3 * draw(leaf.shape).astype("f4")), then)
    exact = product(tree.map(np.float64, now)) - product(tree.map(np.float64, then))
    zero = {"layer1": Linear(np.zeros((64, 64), "f4"), None)}
    got = merged(zero, [Sent({"layer1": now}, {})], [{"layer1": then}], [{"layer1": 1.0}], [1.0])["layer1"].W
    # float32 keeps 1e-7 of the change itself; the difference of two products keeps 1e-4 of it
    assert np.linalg.norm(got - exact) < 1e-6 * np.linalg.norm(exact)


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
    assert shares(2, [1.0, 0.0]) == [1.0, 0.0]  # a head may count for nothing


def test_a_mean_is_added_in_head_order():
    x = [np.float32([1e8]), np.float32([-1e8]), np.float32([1.0])]
    assert mean(x, [1.0, 1.0, 1.0]) == 1 and mean(x[::-1], [1.0, 1.0, 1.0]) == 0
