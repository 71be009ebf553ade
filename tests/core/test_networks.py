"""Networks are chains: their gradients, their names, their chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import networks, tree
from minilte.core.gradcheck import gradient_error
from minilte.core.random import stream

widths = st.lists(st.integers(1, 4), min_size=2, max_size=4)
NAMES = ["relu", "gelu", "gelu-tanh", "tanh", "identity"]


def params_of(net, sizes, seed, bias=True):
    weights = networks.init_weights(net, sizes, seed, "float64", bias)
    draw = stream(seed, "check", 1)
    return tree.map(lambda leaf: leaf + 0.3 * draw.standard_normal(leaf.shape), weights)


@given(widths, st.sampled_from(NAMES), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_the_gradient_of_a_network_is_its_derivative(sizes, activation, norm, bias, seed):
    if norm:
        sizes = [sizes[0], *(size + 2 for size in sizes[1:])]  # a norm over 1 or 2 numbers has a kink between them
    net, x = networks.mlp(sizes, activation, norm), stream(seed, "check").standard_normal((3, sizes[0]))

    def f(params):
        y, caches = networks.forward(net, params, x)
        return y, (caches, params)

    def f_back(dy, cache):
        return networks.backward(dy, *cache)

    # complex step only: a difference would have to keep clear of every relu's kink
    assert gradient_error(f, f_back, (params_of(net, sizes, seed, bias),), method="complex") < 1e-11


def test_names_follow_the_depth():
    assert networks.mlp([4, 3]).chain == ("layer1",)
    assert networks.mlp([4, 3, 2], "tanh", norm=True).chain == ("layer1", "norm1", "tanh", "layer2")


@pytest.mark.parametrize("sizes", [[7, 5], [7, 5, 4, 3]])
def test_weights_have_the_shapes_of_the_widths(sizes):
    net = networks.mlp(sizes, norm=True)
    weights = networks.init_weights(net, sizes, 0)
    dense = [layer.W.shape for name, layer in weights.items() if name.startswith("layer")]
    assert dense == [(m, n) for n, m in zip(sizes, sizes[1:])]
    assert {leaf.dtype for leaf in tree.leaves(weights)} == {np.dtype("float32")}


def test_an_initial_layer_keeps_the_size_of_its_input():
    for activation, gain in (("relu", 2), ("tanh", 1)):
        net = networks.mlp([500, 400, 10], activation)
        W = networks.init_weights(net, [500, 400, 10], 0, "float64")["layer1"].W
        assert abs(W.var() * 500 / gain - 1) < 0.02  # 200,000 entries


def test_a_share_scales_the_gradient_and_not_the_loss():
    net = networks.mlp([3, 4, 2], "tanh")
    weights, x, y = params_of(net, [3, 4, 2], 1), np.ones((2, 3)), np.array([0, 1])
    loss, grads = networks.loss_and_grads(net, weights, x, y)
    part, halves = networks.loss_and_grads(net, weights, x, y, share=0.5)
    assert part == loss and all(np.array_equal(a, 2 * b) for a, b in zip(tree.leaves(grads), tree.leaves(halves)))


def test_weights_follow_their_seed_and_biases_and_norms_start_neutral():
    net = networks.mlp([3, 4, 2], norm=True)
    a, b, c = (networks.init_weights(net, [3, 4, 2], seed) for seed in (1, 1, 2))
    assert np.array_equal(a["layer1"].W, b["layer1"].W) and not np.array_equal(a["layer1"].W, c["layer1"].W)
    assert (a["norm1"].g == 1).all() and not a["norm1"].c.any() and not a["layer2"].c.any()
    assert networks.init_weights(net, [3, 4, 2], 0, bias=False)["layer1"].c is None
    wide = networks.init_weights(networks.mlp([500, 400, 1], norm=True), [500, 400, 1], 0)["layer1"].W
    assert abs(wide.var() * 500 / 2 - 1) < 0.02  # 200,000 entries; a norm forgives any gain


def test_a_network_is_relu_without_norm_and_hard_labels_unless_told_otherwise():
    assert networks.mlp([2, 2, 2]) == networks.Network(("layer1", "relu", "layer2"), "cross-entropy", 0.0)


def test_smoothing_reaches_the_loss():
    from minilte.core.layers import cross_entropy

    weights, x, y = params_of(networks.mlp([3, 2]), [3, 2], 1), np.ones((4, 3)), np.array([0, 1, 1, 1])
    z = networks.forward(networks.mlp([3, 2]), weights, x)[0]
    for smoothing in (0.0, 0.4):
        net = networks.mlp([3, 2], smoothing=smoothing)
        assert networks.loss_and_grads(net, weights, x, y)[0] == float(cross_entropy(z, y, smoothing)[0])


def test_the_gradient_of_the_input_is_never_formed():
    net, seen = networks.mlp([3, 4, 2], "tanh"), []
    weights, x = params_of(net, [3, 4, 2], 1), np.ones((2, 3))
    y, caches = networks.forward(net, weights, x)
    watched = [
        (name, (lambda dy, cache, back=back, **kw: seen.append(kw) or back(dy, cache, **kw)), cache)
        for name, back, cache in caches
    ]
    networks.backward(y, watched, weights)
    assert [kw["wrt_x"] for kw in seen if kw] == [True, False]


def test_an_evaluation_in_chunks_is_the_mean_over_the_whole_set():
    net = networks.mlp([3, 4, 2], "tanh")
    weights, x = params_of(net, [3, 4, 2], 2), stream(2, "check").standard_normal((10, 3))
    y = np.arange(10) % 2
    loss, accuracy = networks.evaluate(net, weights, x, y, chunk=4)
    whole, _ = networks.loss_and_grads(net, weights, x, y)
    assert abs(loss - whole) < 1e-14  # two roundings
    assert accuracy == (networks.forward(net, weights, x)[0].argmax(axis=1) == y).mean()


def test_a_regression_has_no_accuracy():
    net = networks.mlp([3, 2], loss="squared-error")
    assert networks.evaluate(net, params_of(net, [3, 2], 3), np.ones((4, 3)), np.ones((4, 2)))[1] is None
