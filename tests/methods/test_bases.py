"""Layers with a factor beside a basis: their gradients; and the bases: orthonormal, keyed, and exact to move between."""

import numpy as np
import pytest

from minilte.core import gradcheck
from minilte.core.random import stream
from minilte.core.types import Linear
from minilte.methods.bases import Bases, Basis, left, left_back, right, right_back

LAYERS = {"a": (left, left_back), "b": (right, right_back)}


def layer(side, m, n, r, draw, bias=True):
    """W, c, a factor and its basis."""
    Q = np.linalg.qr(draw((n if side == "b" else m, r)))[0].T
    return draw((m, n)), draw(m) if bias else None, draw((m, r) if side == "b" else (r, n)), Q


@pytest.mark.parametrize("side", LAYERS)
@pytest.mark.parametrize("shape", [(4, 5, 2), (5, 4, 3), (3, 3, 3), (4, 5, 4), (5, 4, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("axes", [(6,), (2, 3)])
def test_the_gradients_of_the_layer_are_those_of_the_dense_layer(side, shape, bias, axes):
    m, n, r = shape
    draw = stream(1, "check").standard_normal
    V, c, factor, Q = layer(side, m, n, r, draw, bias)
    x, dy, (f, back) = draw((*axes, n)), draw((*axes, m)), LAYERS[side]
    for factor in (factor, 0 * factor):
        whole = V + (factor @ Q if side == "b" else Q.T @ factor)
        y, cache = f(x, V, c, factor, Q)
        dx, none, dc, grad, nothing = back(dy, cache)
        G = dy.reshape(-1, m).T @ x.reshape(-1, n)
        np.testing.assert_allclose(y, x @ whole.T + (0 if c is None else c), atol=1e-12)
        np.testing.assert_allclose(dx, dy @ whole, atol=1e-12)
        np.testing.assert_allclose(grad, G @ Q.T if side == "b" else Q @ G, atol=1e-12)
        assert none is nothing is None and (dc is None) == (c is None)
        assert back(dy, cache, wrt_x=False)[0] is None


@pytest.mark.parametrize("side", LAYERS)
def test_the_gradient_passes_the_check_by_differences(side):
    draw = stream(2, "check").standard_normal
    V, c, factor, Q = layer(side, 4, 5, 2, draw)
    f, back = LAYERS[side]

    def forward(x, c, factor):
        return f(x, V, c, factor, Q)

    def backward(dy, cache):
        dx, _, dc, grad, _ = back(dy, cache)
        return dx, dc, grad

    assert gradcheck.gradient_error(forward, backward, (draw((3, 5)), c, factor)) < 1e-8


# ---------------------------------------------------------------- the bases


WEIGHTS = {"one": Linear(np.zeros((6, 5)), None), "norm": None, "two": Linear(np.zeros((4, 6), "float32"), None)}
RANKS = {"one": 3, "two": 2}


def bases(side="b", every=3, keep=2, seed=7, ranks=RANKS):
    return Bases(Basis(ranks, every, keep, side, seed), WEIGHTS)


@pytest.mark.parametrize("side", ["a", "b", "alternating"])
def test_rows_are_orthonormal_and_as_long_as_the_side_they_stand_on(side):
    for period in range(4):
        of_b = side == "b" or (side == "alternating" and period % 2 == 0)
        for name, Q in bases(side).draw(period).items():
            m, n = WEIGHTS[name].W.shape
            assert Q.shape == (RANKS[name], n if of_b else m) and Q.dtype == WEIGHTS[name].W.dtype
            np.testing.assert_allclose(Q @ Q.T, np.eye(len(Q)), atol=1e-12 if Q.dtype == np.float64 else 1e-6)
            factor = bases(side).zeros(period)[name]
            assert factor.shape == ((m, RANKS[name]) if of_b else (RANKS[name], n)) and factor.dtype == Q.dtype


def test_a_basis_is_drawn_from_seed_layer_and_period_and_nothing_else():
    same = {"one": 3, "two": 3}
    drawn = {
        (seed, period, name): Q[:, :4].tobytes()
        for seed in (0, 1)
        for period in range(3)
        for name, Q in bases("a", seed=seed, ranks=same).draw(period).items()
    }
    assert len(set(drawn.values())) == len(drawn) == 12
    again = bases("a", every=9, keep=1, seed=1, ranks=same).draw(2)
    assert all(drawn[1, 2, name] == Q[:, :4].tobytes() for name, Q in again.items())


@pytest.mark.parametrize("every, keep", [(1, 1), (3, 2), (10, 4)])
def test_a_period_is_so_many_merges_of_so_many_steps(every, keep):
    basis = Basis(RANKS, every, keep, "b", 0)
    assert [basis.period(step) for step in range(3 * every * keep)] == sum(([p] * every * keep for p in range(3)), [])


@pytest.mark.parametrize("side", ["a", "b", "alternating"])
def test_moving_a_factor_keeps_what_of_its_product_lies_in_the_new_basis(side):
    made, draw = bases(side), stream(4, "check").standard_normal
    factors = {name: draw(zero.shape) for name, zero in made.zeros(0).items()}
    before, after = made.product(factors, 0), made.product(made.turned(factors, 0, 1), 1)
    for name, Q in made.draw(1).items():
        P = Q.T @ Q
        expected = before[name] @ P if made.of.on_right(1) else P @ before[name]
        np.testing.assert_allclose(after[name], expected, atol=1e-6)
    back = made.turned(factors, 0, 0)
    assert all(np.allclose(back[name], factor) for name, factor in factors.items())


def test_a_subspace_favours_no_direction():
    """E Q^T Q = (r / n) I: over many draws the mean projection is a multiple of the identity."""
    Q = [bases(seed=seed).draw(0)["one"] for seed in range(2000)]
    mean = sum(q.T @ q for q in Q) / len(Q)
    np.testing.assert_allclose(mean, 3 / 5 * np.eye(5), atol=4 * 0.5 / np.sqrt(len(Q)))
