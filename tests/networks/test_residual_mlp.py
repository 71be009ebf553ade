"""A residual MLP against its formula, and its gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import networks, tree
from minilte.core.errors import BadInput
from minilte.core.gradcheck import gradient_error
from minilte.core.layers import layer_norm
from minilte.core.pairs import ACTIVATIONS
from minilte.core.random import stream
from minilte.networks.residual_mlp import ResidualMLP, residual_mlp


def params_of(net, seed):
    draw = stream(seed, "check", 1)
    weights = networks.init_weights(net, seed, "float64")
    return tree.map(lambda leaf: leaf + 0.3 * draw.standard_normal(leaf.shape), weights)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_adds_to_x_what_every_hidden_layer_but_the_first_makes_of_it(activation, depth):
    net = residual_mlp([3, *[5] * depth, 2], activation)
    weights, x = params_of(net, depth), stream(depth, "check").standard_normal((4, 3))
    act = ACTIVATIONS[activation].f
    dense = lambda name, x: x @ weights[name].W.T + weights[name].c  # noqa: E731
    h = dense("layer1", x)
    for i in range(2, depth + 1):
        h = h + act(dense(f"layer{i}", layer_norm(h, *weights[f"norm{i}"])[0]))[0]
    y = dense(f"layer{depth + 1}", layer_norm(h, *weights[f"norm{depth + 1}"])[0])
    np.testing.assert_allclose(networks.forward(net, weights, x)[0], y, atol=1e-14)  # rounding


@given(st.integers(0, 2**32), st.sampled_from(list(ACTIVATIONS)), st.integers(1, 3), st.booleans())
def test_its_gradient_is_its_derivative(seed, activation, depth, bias):
    net = residual_mlp([3, *[4] * depth, 2], activation, bias)
    x = stream(seed, "check").standard_normal((3, 3))

    def f(params):
        y, caches = networks.forward(net, params, x)
        return y, (caches, params)

    def f_back(dy, cache):
        caches, params = cache
        return networks.backward(dy, caches, net, params)

    # complex step only: a difference would have to keep clear of every relu's kink
    assert gradient_error(f, f_back, (params_of(net, seed),), method="complex") < 1e-11


@pytest.mark.parametrize("widths", [(), (4, 5), (4, 4, 5)])
def test_hidden_widths_that_are_not_equal_are_refused(widths):
    with pytest.raises(BadInput, match="widths: expected equal ones for a residual network, as 128,128, got"):
        residual_mlp([3, *widths, 2])


def test_every_layer_keeps_the_size_of_what_it_gets():
    net = residual_mlp([50, 400, 400, 10], "relu")
    weights = networks.init_weights(net, 0, "float64")
    for name, gain in (("layer1", 1), ("layer2", 2), ("layer3", 1)):
        W = weights[name].W
        assert abs(W.var() * W.shape[1] / gain - 1) < 0.05  # 4000 entries and more
    assert (weights["norm2"].g == 1).all() and not weights["norm3"].c.any()


def test_it_is_that_of_its_settings():
    made = ResidualMLP((5, 5), "gelu-tanh", bias=False, label_smoothing=0.1).build(7, 3, "cross-entropy")
    assert made == residual_mlp([7, 5, 5, 3], "gelu-tanh", False, loss="cross-entropy", smoothing=0.1)
    assert ResidualMLP().build(784, 10, "cross-entropy") == residual_mlp([784, 256, 256, 10], loss="cross-entropy")
    weights = networks.init_weights(made, 0)
    assert all(weights[f"layer{i}"].c is None for i in (1, 2, 3))
