"""Pairs without weights: values of their formulas, and backward passes that are their derivatives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import pairs
from minilte.core.gradcheck import gradient_error
from minilte.core.random import stream

CENTRAL, COMPLEX = 1e-7, 1e-12  # bars of the project: five-point differences reach 1e-9, complex step 1e-14

axes = st.integers(1, 4)  # 1 is where broadcasting hides mistakes
leading = st.lists(axes, min_size=1, max_size=3).map(tuple)
seeds = st.integers(0, 2**32)


def normal(seed, *shape, i=0):
    return stream(seed, "check", 1, i).standard_normal(shape)


def assert_pair(f, f_back, args):
    assert gradient_error(f, f_back, args, seed=7) < CENTRAL
    assert gradient_error(f, f_back, args, seed=8, method="complex") < COMPLEX


# ---------------------------------------------------------------------------------- activations


@pytest.mark.parametrize("name", pairs.ACTIVATIONS)
@given(seed=seeds, lead=leading, n=axes)
def test_activations(name, seed, lead, n):
    x = normal(seed, *lead, n)
    x += 0.01 * np.sign(x)  # away from the kink of relu at 0
    assert_pair(*pairs.ACTIVATIONS[name], (x,))


def test_activations_have_the_values_of_their_formulas():
    x = np.linspace(-3, 3, 13)  # 0 among them
    phi = (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
    np.testing.assert_allclose(pairs.gelu(x)[0], x * phi, atol=1e-15)
    np.testing.assert_allclose(pairs.gelu_tanh(x)[0], x * phi, atol=5e-4)  # how near the tanh form comes to the exact
    assert np.array_equal(pairs.relu(x)[0], np.where(x > 0, x, 0)) and np.array_equal(pairs.tanh(x)[0], np.tanh(x))
    assert np.array_equal(pairs.relu_back(np.ones(13), pairs.relu(x)[1]), np.where(x > 0, 1, 0))  # 0 at the kink


@pytest.mark.parametrize("name", pairs.ACTIVATIONS)
def test_float32_stays_float32(name):
    f, f_back = pairs.ACTIVATIONS[name]
    x = normal(1, 3, 4).astype(np.float32)
    y, cache = f(x)
    assert y.dtype == f_back(x, cache).dtype == np.float32


# ---------------------------------------------------------------------------------- tokens


@given(seeds, leading, axes, axes)
def test_attend(seed, lead, t, d):
    assert_pair(pairs.attend, pairs.attend_back, tuple(normal(seed, *lead, t, d, i=i) for i in range(3)))


@given(seeds, axes, axes, axes, st.integers(1, 3))
def test_attention(seed, b, t, d, heads):
    assert_pair(*pairs.attention(heads), (normal(seed, b, t, 3 * d * heads),))


def test_attention_is_a_softmax_of_scaled_products_head_by_head_and_row_by_row():
    b, t, d, heads = 2, 3, 4, 2
    x = normal(1, b, t, 3 * d * heads)
    y, _ = pairs.attention(heads).f(x)
    for sample in range(b):
        for head in range(heads):
            Q, K, V = (x[sample, :, d * (heads * part + head) :][:, :d] for part in range(3))
            for row in range(t):
                p = np.array([math.exp(Q[row] @ K[other] / math.sqrt(d)) for other in range(t)])
                expected = sum(p[other] * V[other] for other in range(t)) / p.sum()
                np.testing.assert_allclose(y[sample, row, d * head : d * head + d], expected, atol=1e-14)


def test_attention_to_equal_tokens_is_their_mean_and_huge_scores_are_finite():
    V = normal(1, 3, 2)
    same, _ = pairs.attend(np.ones((3, 2)), np.ones((3, 2)), V)
    np.testing.assert_allclose(same, np.broadcast_to(V.mean(axis=0), (3, 2)), atol=1e-15)
    first, _ = pairs.attend(np.full((1, 1), 1e300), np.array([[1.0], [0.0]]), np.array([[5.0], [7.0]]))
    assert first == 5
    rows, _ = pairs.attend(np.array([[1e3], [-1e3]]), np.array([[1.0], [0.5]]), np.array([[5.0], [7.0]]))
    np.testing.assert_array_equal(rows, [[5], [7]])  # every row against its own largest score: none is 0 / 0


@given(seeds, axes, axes, axes, st.integers(1, 3), st.integers(1, 3))
def test_patches(seed, b, rows, columns, size, channels):
    pair = pairs.patches(rows * size, columns * size, size)
    assert_pair(*pair, (normal(seed, b, rows * columns * size**2 * channels),))


def test_patches_are_squares_from_left_to_right_and_from_top_to_bottom():
    pixels = np.arange(16.0).reshape(1, 16)  # 4 x 4
    tokens, cache = pairs.patches(4, 4, 2).f(pixels)
    assert tokens.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]
    assert np.array_equal(pairs.patches(4, 4, 2).f_back(tokens, cache), pixels)
    coloured = np.arange(8.0).reshape(1, 8)  # 2 x 2, two numbers a pixel
    assert pairs.patches(2, 2, 1).f(coloured)[0].tolist() == [[[0, 1], [2, 3], [4, 5], [6, 7]]]


@given(seeds, leading, axes, axes)
def test_transpose_and_the_mean_of_tokens(seed, lead, t, n):
    x = normal(seed, *lead, t, n)
    assert_pair(*pairs.transpose, (x,))
    assert_pair(*pairs.mean_of_tokens, (x,))
    assert np.array_equal(pairs.transpose.f(x)[0], np.swapaxes(x, -1, -2))
    np.testing.assert_allclose(pairs.mean_of_tokens.f(x)[0], sum(x[..., i, :] for i in range(t)) / t, atol=1e-15)


# ---------------------------------------------------------------------------------- losses


@given(seeds, leading, st.integers(1, 5), st.sampled_from([0.0, 0.1, 0.9]))
def test_cross_entropy(seed, lead, k, smoothing):
    z = normal(seed, *lead, k)
    labels = stream(seed, "check", 2).integers(0, k, lead)
    assert_pair(lambda z: pairs.cross_entropy(z, labels, smoothing), pairs.cross_entropy_back, (z,))


def test_losses_have_the_values_of_their_formulas():
    z, labels = normal(1, 5, 3), np.array([0, 2, 1, 1, 0])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    t = 0.7 * np.eye(3)[labels] + 0.3 / 3
    assert pairs.cross_entropy(z, labels, 0.3)[0] == pytest.approx(-(t * np.log(p)).sum(axis=1).mean(), rel=1e-14)
    assert pairs.cross_entropy(z, labels)[0] == pytest.approx(-np.log(p[range(5), labels]).mean(), rel=1e-14)
    assert pairs.squared_error(z, p)[0] == pytest.approx(((z - p) ** 2).sum(axis=1).mean(), rel=1e-14)


def test_rows_of_scores_of_very_different_size_do_not_disturb_each_other():
    loss, cache = pairs.cross_entropy(np.array([[0.0, 1e4], [0.0, 0.0]]), np.array([1, 0]))
    assert loss == pytest.approx(math.log(2) / 2)
    np.testing.assert_allclose(pairs.cross_entropy_back(1.0, cache), [[0, 0], [-0.25, 0.25]], atol=1e-15)


@given(seeds, leading, axes)
def test_squared_error(seed, lead, m):
    target = normal(seed, *lead, m, i=1)
    assert_pair(lambda y: pairs.squared_error(y, target), pairs.squared_error_back, (normal(seed, *lead, m),))


@given(seeds, st.integers(2, 5))
def test_cross_entropy_does_not_move_when_all_scores_do(seed, k):
    z, labels = normal(seed, 4, k), np.zeros(4, int)
    # 1e-9: adding 1e4 and taking it away again costs four digits
    assert abs(pairs.cross_entropy(z + 1e4, labels)[0] - pairs.cross_entropy(z, labels)[0]) < 1e-9


def test_cross_entropy_of_huge_scores_is_finite():
    assert pairs.cross_entropy(np.array([[1e300, 0.0]]), np.array([0]))[0] == 0
