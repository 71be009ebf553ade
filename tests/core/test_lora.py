"""Adapter algebra: stacking, products in blocks, scales, ranks, inits."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import lora
from minilte.core.errors import BadInput
from minilte.core.lora import ROWS, plus_products
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Norm

sizes, seeds = st.integers(1, 5), st.integers(0, 2**32)


def pairs(seed, m, n, ranks):
    draw = stream(seed, "check")
    return [Adapter(draw.standard_normal((r, n)), draw.standard_normal((m, r))) for r in ranks]


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=4))
def test_a_stack_is_the_sum_of_its_products(seed, m, n, ranks):  # law L5
    heads, scales = pairs(seed, m, n, ranks), [1.5 + i for i in range(len(ranks))]
    total = sum(s * lora.product(pair) for s, pair in zip(scales, heads))
    # 1e-12: rounding of a few dozen products of size 10
    np.testing.assert_allclose(lora.product(lora.stack(heads, scales)), total, atol=1e-12)


def test_every_adapter_needs_its_scale():
    for scales in ([1.0], [1.0, 1.0, 1.0]):
        with pytest.raises(ValueError):
            lora.stack(pairs(0, 2, 2, [1, 1]), scales)
        with pytest.raises(ValueError):
            lora.plus_products(np.zeros((2, 2)), pairs(0, 2, 2, [1, 1]), scales)


@given(seeds, sizes, sizes, st.lists(sizes, min_size=1, max_size=4))
def test_products_are_added_to_a_new_matrix(seed, m, n, ranks):
    heads, scales = pairs(seed, m, n, ranks), [1.5 + i for i in range(len(ranks))]
    W = stream(seed, "check", 1).standard_normal((m, n))
    before = W.copy()
    got = plus_products(W, heads, scales)
    # 1e-12: rounding of a few dozen products of size 10
    np.testing.assert_allclose(got, W + sum(s * lora.product(pair) for s, pair in zip(scales, heads)), atol=1e-12)
    assert np.array_equal(W, before) and not np.shares_memory(got, W)


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


def test_the_mean_of_products_is_not_the_product_of_means():
    heads = pairs(1, 256, 256, [16] * 4)
    mean = sum(lora.product(pair) for pair in heads) / 4
    naive = (sum(pair.B for pair in heads) / 4) @ (sum(pair.A for pair in heads) / 4)
    error = np.linalg.norm(mean - naive) / np.linalg.norm(mean)
    assert abs(error - math.sqrt(1 - 1 / 4)) < 0.05  # sqrt(1 - 1/N) for independent heads, up to chance


def test_a_scale_is_alpha_over_the_rank_asked_or_its_root():
    assert lora.scale(64, 16) == 4 and lora.scale(64, 16, "sqrt-rank") == 16


WEIGHTS = {
    "layer1": Linear(np.zeros((6, 9)), np.zeros(6)),
    "norm1": Norm(np.ones(6), np.zeros(6)),
    "layer2": Linear(np.zeros((2, 6)), None),
}


def test_a_layer_uses_the_rank_asked_or_the_largest_it_has_with_the_scale_of_the_rank_asked():
    plan = lora.plan(WEIGHTS, [{"layer1": 4, "layer2": 4}], alpha=8)
    drawn = plan.draw(0, 0)
    assert drawn["layer1"].A.shape == (4, 9) and drawn["layer2"].A.shape == (2, 6)
    assert plan.scales[0] == {"layer1": 2, "layer2": 2}
    assert [leaf.shape for pair in plan.shape(0).values() for leaf in pair] == [
        leaf.shape for pair in drawn.values() for leaf in pair
    ]


def test_adapters_have_the_dtype_of_their_layer_and_the_plan_its_scaling():
    weights = {"layer1": Linear(np.zeros((6, 9), np.float32), None)}
    plan = lora.plan(weights, [{"layer1": 4}], alpha=8, scaling="sqrt-rank")
    assert {leaf.dtype for one in (plan.draw(0, 0), plan.shape(0)) for pair in one.values() for leaf in pair} == {
        np.dtype("f4")
    }
    assert plan.scales[0]["layer1"] == 4 and not plan.draw(0, 0)["layer1"].B.any()


def test_adapters_are_drawn_from_the_stream_of_that_purpose():
    made = lora.init_adapters(WEIGHTS, {"layer1": 2}, "kaiming", 5, 1, 7)["layer1"].A
    expected = lora.INITS["kaiming"](stream(5, "adapter", 1, 7), *made.shape)
    np.testing.assert_array_equal(made, expected.astype(made.dtype))


def test_adapters_follow_seed_head_and_step():
    ranks = [{"layer1": 3}] * 2
    draw = lambda seed, **plan: lora.plan(WEIGHTS, ranks, 1.0, seed=seed, **plan).draw(1, 5)["layer1"].A  # noqa: E731
    assert np.array_equal(draw(1), draw(1)) and not np.array_equal(draw(1), draw(2))
    assert np.array_equal(draw(1), lora.init_adapters(WEIGHTS, {"layer1": 3}, "bernstein", 1, 1, 5)["layer1"].A)
    assert np.array_equal(
        draw(1, head_init="same"), lora.init_adapters(WEIGHTS, {"layer1": 3}, "bernstein", 1, 0, 5)["layer1"].A
    )
    first = lora.init_adapters(WEIGHTS, {"layer1": 3}, "bernstein", 0, 0)["layer1"].A
    assert np.array_equal(
        first, lora.plan(WEIGHTS, [{"layer1": 3}], 1.0).draw(0, 0)["layer1"].A
    )  # seed 0, own, step 0


@given(seeds, st.integers(1, 6), st.integers(6, 12))
def test_semi_orthogonal_rows_are_orthonormal(seed, r, n):
    A = lora.semi_orthogonal(stream(seed, "check"), r, n)
    np.testing.assert_allclose(A @ A.T, np.eye(r), atol=1e-12)  # 1e-12: rounding of a QR of a dozen rows


SQUARES = {  # mean square of an entry of A
    "bernstein": lambda r, n: r / n / n,  # orthonormal rows have mean square 1/n; times r/n
    "official": lambda r, n: 1 / r,  # 1/n times n/r: the ratio the other way round
    "kaiming": lambda r, n: 1 / (3 * n),  # a third of the square of the bound 1/sqrt n
    "xavier": lambda r, n: 2 / (n + r),
    "gaussian": lambda r, n: 1 / n,
}


@pytest.mark.parametrize("init", lora.INITS)
def test_inits_have_the_size_that_the_formulas_say(init):
    r, n = 16, 400
    A = lora.INITS[init](stream(0, "check"), r, n)
    assert abs((A * A).mean() / SQUARES[init](r, n) - 1) < 0.1  # 6400 entries: within a few percent
    bound = {"kaiming": 1 / math.sqrt(n), "xavier": math.sqrt(6 / (n + r))}.get(init, math.inf)
    assert abs(A).max() <= bound


def test_heads_differ_unless_the_same_init_is_asked_for_and_fresh_draws_differ():
    ranks = [{"layer1": 3}] * 2
    own, same = (lora.plan(WEIGHTS, ranks, 1.0, head_init=kind) for kind in ("own", "same"))
    A = lambda plan, n, step=0: plan.draw(n, step)["layer1"].A  # noqa: E731
    assert not np.array_equal(A(own, 0), A(own, 1)) and np.array_equal(A(same, 0), A(same, 1))
    assert not np.array_equal(A(own, 0), A(own, 0, 10))
    assert not A(own, 0) is A(own, 0) and np.array_equal(A(own, 0), A(own, 0))


def test_an_adapter_that_can_never_move_is_refused():
    dead = Adapter(np.zeros((1, 2)), np.zeros((2, 1)))
    with pytest.raises(BadInput, match="layer1.*both zero"):
        lora.refuse_dead({"layer1": dead})
    lora.refuse_dead({"layer1": dead._replace(A=np.ones((1, 2)))})
