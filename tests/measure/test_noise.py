"""The noise scale: unbiased estimates from batches of any sizes, and silence where there is no number."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Linear
from minilte.measure.noise import estimates, noise_scale

seeds = st.integers(0, 2**32)
sizes = st.lists(st.integers(1, 9), min_size=2, max_size=5)


def gradients(seed, sizes, noise=1.0, d=6):
    """Mean gradients of batches of Gaussian samples about a G of length 3; the noise has covariance noise^2 I."""
    rng = stream(seed, "check")
    G = np.full(d, 3 / np.sqrt(d))
    return [G + noise * rng.standard_normal((b, d)).mean(axis=0) for b in sizes]


@pytest.mark.parametrize("sizes", [(2, 2), (1, 2, 1), (1, 3)], ids=str)
def test_both_estimates_are_unbiased_for_any_sizes(sizes):
    # samples G + e v with e = -1 or 1: a mean over all outcomes is the expectation itself, without sampling error
    G, v = np.array([1.0, -2.0, 0.5]), np.array([0.3, 1.0, 2.0])
    ends, found = np.cumsum(sizes)[:-1], []
    for signs in itertools.product([-1, 1], repeat=sum(sizes)):
        found.append(estimates([G + part.mean() * v for part in np.split(np.array(signs), ends)], sizes))
    square, trace = np.mean(found, axis=0)
    assert square == pytest.approx(G @ G, rel=1e-12) and trace == pytest.approx(v @ v, rel=1e-12)  # rounding


def test_gaussian_gradients_give_their_own_noise_scale():
    rng, G, scales, sizes = stream(1, "check"), np.array([2.0, 0.0, -1.0]), np.array([1.0, 2.0, 0.5]), (4, 8, 2, 6)
    mix, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    draw = lambda: [G + (rng.standard_normal((b, 3)) * scales @ mix).mean(axis=0) for b in sizes]  # noqa: E731
    found = np.array([estimates(draw(), sizes) for _ in range(4000)])
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - [G @ G, scales @ scales]) < 4 * error)  # four standard errors
    assert np.all(error < 0.05 * found.mean(axis=0))  # and they are small enough to tell


@given(seeds, st.integers(2, 5), st.integers(1, 9))
def test_equal_batches_give_the_estimates_of_the_paper(seed, k, b):
    parts = gradients(seed, [b] * k)
    small, big = np.mean([part @ part for part in parts]), np.mean(parts, axis=0) @ np.mean(parts, axis=0)
    square, trace = estimates(parts, [b] * k)
    # 1e-10: the paper's form takes differences of numbers of about 10
    assert square == pytest.approx((k * b * big - b * small) / (k * b - b), abs=1e-10)
    assert trace == pytest.approx((small - big) / (1 / b - 1 / (k * b)), abs=1e-10)


@given(seeds, sizes, st.sampled_from([1e-6, -3.0, 1e4]))
def test_the_unit_of_the_loss_drops_out(seed, sizes, unit):
    parts = gradients(seed, sizes, 0.1)
    # 1e-9: rounding, where the noise is a hundredth of the gradient
    assert noise_scale([unit * part for part in parts], sizes) == pytest.approx(noise_scale(parts, sizes), rel=1e-9)


@given(seeds, sizes, st.integers(2, 5))
def test_counting_samples_in_another_unit_scales_the_answer(seed, sizes, k):
    parts = gradients(seed, sizes, 0.1)
    more = noise_scale(parts, [k * b for b in sizes])
    assert more == pytest.approx(k * noise_scale(parts, sizes), rel=1e-9)


@given(seeds, sizes)
def test_the_order_of_the_batches_does_not_matter(seed, sizes):
    parts = gradients(seed, sizes)
    # 1e-10: sums in another order
    assert estimates(parts[::-1], sizes[::-1]) == pytest.approx(estimates(parts, sizes), rel=1e-10, abs=1e-10)
    assert estimates(parts, sizes)[1] >= 0


def test_gradients_may_be_trees_that_come_one_by_one_in_low_precision():
    parts = [part.astype("float32") for part in gradients(0, [2, 3])]
    trees = ({"layer1": Linear(part[:4].reshape(2, 2), None), "layer2": Linear(None, part[4:])} for part in parts)
    assert noise_scale(trees, [2, 3]) == noise_scale([part.astype("float64") for part in parts], [2, 3])


def test_batches_without_noise_have_scale_zero():
    assert noise_scale([np.ones(3), np.ones(3)], [1, 2]) == 0


@pytest.mark.parametrize("sizes", [(), (4,), (4, 0)], ids=str)
def test_fewer_than_two_batches_tell_nothing(sizes):
    with pytest.raises(BadInput, match="at least two batches"):
        noise_scale([np.ones(3)] * len(sizes), sizes)


@pytest.mark.parametrize("gradient", [[-1.0, 1.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]], ids=str)
def test_a_gradient_lost_in_noise_has_no_scale(gradient):
    with np.errstate(invalid="ignore"), pytest.raises(BadInput, match="larger batches"):
        noise_scale([np.array([g]) for g in gradient], [3, 3])
