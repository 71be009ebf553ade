"""Alignment from factors is alignment of the products, and says where it is undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from minilte.core.errors import BadInput
from minilte.core.lora import product
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.measure.alignment import cosine, grassmann, over_pairs

seeds, ranks = st.integers(0, 2**32), st.integers(1, 3)


def pair(seed, r, m=7, n=6):
    normal = stream(seed, "check", r).standard_normal
    return Adapter(normal((r, n)), normal((m, r)))


@given(seeds, seeds, ranks, ranks)
def test_the_cosine_is_that_of_the_products(a, b, r, k):
    one, other = pair(a, r), pair(b, k)
    M, K = product(one), product(other)
    # 1e-12: rounding of a few hundred products
    assert cosine(one, other) == pytest.approx((M * K).sum() / np.linalg.norm(M) / np.linalg.norm(K), abs=1e-12)
    assert cosine(one, one) == pytest.approx(1) and cosine(one, one._replace(B=-one.B)) == pytest.approx(-1)


@given(seeds, seeds, ranks, ranks)
def test_the_distance_is_that_of_the_principal_angles(a, b, r, k):
    one, other = pair(a, r), pair(b, k)
    # 1e-6: an arc cosine near 1 keeps half the digits
    assert grassmann(one, other) == pytest.approx(np.linalg.norm(subspace_angles(one.B, other.B)), abs=1e-6)
    assert grassmann(one, other) == pytest.approx(grassmann(other, one), abs=1e-6)
    assert grassmann(one, other) <= np.sqrt(min(r, k, 7 - max(r, k)) or 1) * np.pi / 2 * (1 + 1e-12)


@given(seeds, ranks)
def test_identical_subspaces_are_at_distance_zero_however_they_are_written(seed, r):
    one = pair(seed, r)
    mix = stream(seed, "check", 9).standard_normal((r, r)) + 3 * np.eye(r)
    assert grassmann(one, Adapter(np.linalg.solve(mix, one.A), one.B @ mix)) < 1e-6


def test_random_subspaces_lie_where_theory_has_them():
    distances = [grassmann(pair(2 * i, 8, 384, 9), pair(2 * i + 1, 8, 384, 9)) for i in range(20)]
    assert np.mean(distances) == pytest.approx(4.105, abs=0.01)  # the baseline to draw, r = 8 in R^384


def test_the_mean_is_over_ordered_pairs_and_not_half_of_it():
    # a prefactor 1 / (N (N-1)) belongs to ordered pairs; over i < j alone it gives half the mean
    e = np.eye(4)
    heads = [Adapter(np.ones((1, 2)), e[:, [i]]) for i in range(4)]
    assert over_pairs(grassmann, heads) == pytest.approx(np.pi / 2)
    half = sum(grassmann(a, b) for i, a in enumerate(heads) for b in heads[:i]) / (4 * 3)
    assert half == pytest.approx(np.pi / 4)


@pytest.mark.parametrize("measure", [cosine, grassmann])
def test_a_head_that_has_not_moved_has_no_direction(measure):
    still = Adapter(np.ones((1, 6)), np.zeros((7, 1)))
    with pytest.raises(BadInput, match="before the first step"):
        measure(pair(0, 1), still)
    with pytest.raises(BadInput, match="two heads"):
        over_pairs(measure, [pair(0, 1)])
