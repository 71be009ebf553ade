"""Every backward pair is the derivative of its forward, for any shape and a random upstream gradient."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import layers, tree
from minilte.core.gradcheck import gradient_error
from minilte.core.random import stream
from minilte.core.types import Adapter

CENTRAL, COMPLEX = 1e-7, 1e-12  # bars of the project: five-point differences reach 1e-9, complex step 1e-14

axes = st.integers(1, 4)  # 1 is where broadcasting hides mistakes
leading = st.lists(axes, min_size=1, max_size=3).map(tuple)
seeds = st.integers(0, 2**32)


def normal(seed, *shape, i=0):
    return stream(seed, "check", 1, i).standard_normal(shape)


def assert_pair(f, f_back, args, frozen=()):
    assert gradient_error(f, f_back, args, seed=7, frozen=frozen) < CENTRAL
    assert gradient_error(f, f_back, args, seed=8, method="complex", frozen=frozen) < COMPLEX


def head_layer(seed, lead, m, n, r, moved=True):
    x, W, c = normal(seed, *lead, n), normal(seed, m, n, i=1), normal(seed, m, i=2)
    now = Adapter(normal(seed, r, n, i=3), normal(seed, m, r, i=4))
    then = Adapter(normal(seed, r, n, i=5), normal(seed, m, r, i=6)) if moved else None
    return x, W, c, 0.7, now, then


@given(seeds, leading, axes, axes, st.booleans())
def test_linear(seed, lead, m, n, bias):
    args = normal(seed, *lead, n), normal(seed, m, n, i=1), normal(seed, m, i=2) if bias else None
    assert_pair(layers.linear, layers.linear_back, args)


@given(seeds, leading, axes, axes, axes, st.booleans())
def test_the_layer_of_a_head(seed, lead, m, n, r, moved):
    assert_pair(layers.lora, layers.lora_back, head_layer(seed, lead, m, n, r, moved), frozen=(1, 5))  # W and V


@given(seeds, leading, axes, axes, axes)
def test_a_head_computes_with_the_main_weight_less_what_was_merged_plus_its_product(seed, lead, m, n, r):
    x, W, c, s, now, then = head_layer(seed, lead, m, n, r)
    seen = W - s * then.B @ then.A + s * now.B @ now.A
    # 1e-12: a few dozen roundings of numbers of size 10
    np.testing.assert_allclose(layers.lora(x, W, c, s, now, then)[0], x @ seen.T + c, atol=1e-12)


@given(seeds, leading, axes, axes, axes)
def test_a_merge_changes_nothing_for_the_head_that_was_merged_alone(seed, lead, m, n, r):
    x, W, c, s, now, _ = head_layer(seed, lead, m, n, r)
    assert np.array_equal(layers.lora(x, W, c, s, now, now)[0], layers.linear(x, W, c)[0])  # exactly (law L10)


def test_a_head_has_moved_when_either_factor_has():
    pair, other = (Adapter(normal(1, 2, 3, i=i), normal(1, 4, 2, i=i)) for i in (0, 1))
    assert layers.unmoved(pair, pair) and layers.unmoved(pair, Adapter(pair.A.copy(), pair.B.copy()))
    assert not layers.unmoved(pair, pair._replace(A=other.A)) and not layers.unmoved(pair, pair._replace(B=other.B))


def test_a_head_in_low_precision_keeps_a_small_change():
    draw = stream(0, "check").standard_normal
    single = lambda *shape: draw(shape).astype("f4")  # noqa: E731
    then = Adapter(single(4, 64), single(64, 4))
    now = tree.map(lambda leaf: leaf * (1 + 1e-3 * single(*leaf.shape)), then)
    x, W = single(5, 64), np.zeros((64, 64), "f4")
    exact = [B @ A for A, B in (tree.map(np.float64, pair) for pair in (now, then))]
    y, cache = layers.lora(x, W, None, 1.0, now, then)
    dx, *_ = layers.lora_back(x, cache)
    # float32 keeps 1e-7 of the change itself; the difference of two products keeps 1e-4 of it
    for got, true in ((y, x @ (exact[0] - exact[1]).T), (dx, x @ (exact[0] - exact[1]))):
        assert np.linalg.norm(got - true) < 1e-6 * np.linalg.norm(true)


@given(seeds, leading, axes, axes, axes, st.booleans())
def test_leaving_out_a_change_of_zero_changes_nothing_but_rounding(seed, lead, m, n, r, same_object):
    args = x, W, c, s, now, _ = head_layer(seed, lead, m, n, r)
    then = now if same_object else Adapter(now.A.copy(), now.B.copy())
    short, long = layers.lora(*args[:5], then), None
    with mock.patch.object(layers, "unmoved", lambda now, then: False):
        long = layers.lora(*args[:5], then)
    assert short[1][-1] is None and long[1][-1] is not None  # the path, and the way round it
    dy = normal(seed, *lead, m, i=9)
    grads, plain = layers.lora_back(dy, short[1]), layers.lora_back(dy, long[1])
    for a, b in zip(tree.leaves((short[0], grads)), tree.leaves((long[0], plain)), strict=True):
        # 1e-13: a product with zero columns beside it may be summed in another order; y is the same bits
        np.testing.assert_allclose(a, b, atol=1e-13 * (1 + np.abs(b).max()))
    assert np.array_equal(short[0], long[0])


@given(seeds, axes, axes, axes)
def test_the_gradient_of_A_is_zero_while_B_is_zero(seed, m, n, r):
    x, W, c, s, now, _ = head_layer(seed, (3,), m, n, r)
    _, cache = layers.lora(x, W, c, s, now._replace(B=0 * now.B), None)
    grad = layers.lora_back(normal(seed, 3, m, i=9), cache)[4]
    assert not grad.A.any()  # law L7


def test_without_a_bias_there_is_no_gradient_of_one():
    x, W, _, s, now, _ = head_layer(1, (3,), 2, 4, 2)
    y, cache = layers.linear(x, W, None)
    assert layers.linear_back(y, cache)[2] is None
    assert layers.lora_back(y, layers.lora(x, W, None, s, now, None)[1])[2] is None
    y, cache = layers.layer_norm(x)
    assert layers.layer_norm_back(y, cache)[1:] == (None, None)


@pytest.mark.parametrize("name", ["linear", "lora", "layer_norm"])
def test_the_gradient_of_the_input_is_left_out_where_nobody_asks(name):
    args = head_layer(1, (3,), 2, 4, 2)
    args = {"linear": args[:3], "lora": args, "layer_norm": (args[0], args[1][0], args[1][1])}[name]
    y, cache = getattr(layers, name)(*args)
    back = getattr(layers, f"{name}_back")
    (dx, *rest), (none, *same) = back(y, cache), back(y, cache, wrt_x=False)
    assert dx.shape == args[0].shape and none is None
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(rest), tree.leaves(same), strict=True))


@given(seeds, leading, st.integers(1, 5), st.booleans())
def test_layer_norm(seed, lead, n, affine):
    x = normal(seed, *lead, n)
    affine = (normal(seed, n, i=1), normal(seed, n, i=2)) if affine else ()
    # eps of 0.1 keeps rows of two nearly equal numbers away from 1/0, where no difference is accurate
    assert_pair(lambda *args: layers.layer_norm(*args, eps=0.1), layers.layer_norm_back, (x, *affine))


@given(seeds, leading, st.integers(2, 5))
def test_layer_norm_gives_mean_0_and_variance_1(seed, lead, n):
    z, _ = layers.layer_norm(5 + 10 * normal(seed, *lead, n), eps=0.0)
    # 1e-9: two numbers that are nearly equal lose digits in x - mean
    np.testing.assert_allclose(z.mean(axis=-1), 0, atol=1e-9)
    np.testing.assert_allclose(z.var(axis=-1), 1, atol=1e-9)


def test_layer_norm_divides_by_the_root_of_the_variance_and_a_small_number():
    x = np.array([[0.0, 2e-2]])
    np.testing.assert_allclose(layers.layer_norm(x)[0], [[-1e-2, 1e-2]] / np.sqrt(1e-4 + 1e-5), rtol=1e-14)


@pytest.mark.parametrize("f", [layers.linear, layers.lora, layers.layer_norm])
def test_the_callers_arrays_stay(f):
    args = head_layer(1, (3,), 2, 4, 2)
    args = {layers.linear: args[:3], layers.lora: args, layers.layer_norm: (args[0], args[1][0], args[1][1])}[f]
    before = [np.array(a, copy=True) for a in args[:3]]
    f(*args)
    assert all(np.array_equal(a, b) for a, b in zip(args[:3], before, strict=True))
