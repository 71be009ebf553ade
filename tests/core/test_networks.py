"""Networks are chains: their gradients, their names, their weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import networks, pairs, tree
from minilte.core.gradcheck import gradient_error
from minilte.core.networks import Affine, Dense, Network, Residual
from minilte.core.pairs import ACTIVATIONS, Pair
from minilte.core.random import stream

widths = st.lists(st.integers(1, 4), min_size=2, max_size=4)
NAMES = ["relu", "gelu", "gelu-tanh", "tanh", "identity"]
TANH = ACTIVATIONS["tanh"]


def params_of(net, seed):
    weights = networks.init_weights(net, seed, "float64")
    draw = stream(seed, "check", 1)
    return tree.map(lambda leaf: leaf + 0.3 * draw.standard_normal(leaf.shape), weights)


def assert_derivative(net, x, seed):
    def f(params):
        y, caches = networks.forward(net, params, x)
        return y, (caches, params)

    def f_back(dy, cache):
        caches, params = cache
        return networks.backward(dy, caches, net, params)

    # complex step only: a difference would have to keep clear of every relu's kink
    assert gradient_error(f, f_back, (params_of(net, seed),), method="complex") < 1e-11


@given(widths, st.sampled_from(NAMES), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_the_gradient_of_a_network_is_its_derivative(sizes, activation, norm, bias, seed):
    if norm:
        sizes = [sizes[0], *(size + 2 for size in sizes[1:])]  # a norm over 1 or 2 numbers has a kink between them
    net, x = networks.mlp(sizes, activation, norm, bias), stream(seed, "check").standard_normal((3, sizes[0]))
    assert_derivative(net, x, seed)


SHAPES = {
    "in": Dense(4, 4),
    "norm": Affine(4),
    "square": Dense(4, 4),
    "up": Dense(5, 4),
    "down": Dense(4, 5, bias=False),
    "out": Dense(2, 4),
}
CHAINS = {
    "a residual first": (Residual(("norm", "up", TANH, "down")), "out"),
    "a residual last": ("in", Residual(("up", TANH, "down"))),
    "a pair first": (TANH, "in", Residual(("square",)), TANH),
    "a residual in a residual": ("in", Residual(("norm", Residual(("square", TANH)), "up", "down")), "out"),
    "a residual of a pair": ("in", Residual((TANH,)), "out"),
}


def names_in(chain):
    for step in chain:
        yield from [step] if isinstance(step, str) else names_in(step.chain) if isinstance(step, Residual) else []


def network(chain, shapes=SHAPES, **loss):
    return Network(chain, {name: shapes[name] for name in names_in(chain)}, **loss)


@pytest.mark.parametrize("name", CHAINS)
@given(seed=st.integers(0, 2**32))
def test_the_gradient_of_a_chain_with_residuals_is_its_derivative(name, seed):
    assert_derivative(network(CHAINS[name]), stream(seed, "check").standard_normal((3, 4)), seed)


@given(st.integers(0, 2**32))
def test_the_gradient_of_attention_between_layers_is_its_derivative(seed):
    block = Residual(("norm1", "qkv", pairs.attention(2), "out"))
    chain = (pairs.patches(2, 4, 2), "embed", block, pairs.mean_of_tokens, "head")
    shapes = {"embed": Dense(4, 4), "norm1": Affine(4), "qkv": Dense(12, 4), "out": Dense(4, 4), "head": Dense(2, 4)}
    assert_derivative(Network(chain, shapes), stream(seed, "check").standard_normal((3, 8)), seed)


def test_a_residual_adds_its_chain_to_its_input():
    net = network((Residual(("square", TANH)),))
    weights, x = params_of(net, 1), stream(1, "check").standard_normal((3, 4))
    W, c = weights["square"]
    assert np.array_equal(networks.forward(net, weights, x)[0], x + np.tanh(x @ W.T + c))


def test_names_follow_the_depth():
    assert networks.mlp([4, 3]).chain == ("layer1",)
    assert networks.mlp([4, 3, 2], "tanh", norm=True).chain == ("layer1", "norm1", TANH, "layer2")
    assert list(networks.mlp([4, 3, 2], "tanh", norm=True).layers) == ["layer1", "norm1", "layer2"]


def test_a_deep_linear_network_has_no_activations():
    assert networks.mlp([4, 3, 2, 2], "identity").chain == ("layer1", "layer2", "layer3")


@pytest.mark.parametrize("sizes", [[7, 5], [7, 5, 4, 3]])
def test_weights_have_the_shapes_of_the_widths(sizes):
    weights = networks.init_weights(networks.mlp(sizes, norm=True), 0)
    dense = [layer.W.shape for name, layer in weights.items() if name.startswith("layer")]
    assert dense == [(m, n) for n, m in zip(sizes, sizes[1:])]
    assert {leaf.dtype for leaf in tree.leaves(weights)} == {np.dtype("float32")}


def test_weights_before_they_are_drawn_have_the_shapes_and_take_no_memory():
    net = networks.mlp([7, 5, 3], norm=True)
    for dtype in ("float32", "float64"):
        drawn, blank = networks.init_weights(net, 0, dtype), networks.blank_weights(net, dtype)
        same = zip(tree.named(drawn), tree.named(blank), strict=True)
        assert all((a, x.shape, x.dtype) == (b, y.shape, y.dtype) for (a, x), (b, y) in same)
        for name, layer in blank.items():
            if name.startswith("layer"):
                assert layer.W.strides == (0, 0) and not layer.W.any()
            rest = layer[1:] if name.startswith("layer") else layer
            assert all(np.array_equal(a, b) for a, b in zip(rest, drawn[name][-len(rest) :], strict=True))


def test_an_initial_layer_keeps_the_size_of_its_input():
    for activation, gain in (("relu", 2), ("tanh", 1)):
        W = networks.init_weights(networks.mlp([500, 400, 10], activation), 0, "float64")["layer1"].W
        assert abs(W.var() * 500 / gain - 1) < 0.02  # 200,000 entries


def test_a_factor_scales_the_gradient_and_not_the_loss():
    net = networks.mlp([3, 4, 2], "tanh")
    weights, x, y = params_of(net, 1), np.ones((2, 3)), np.array([0, 1])
    loss, grads = networks.loss_and_grads(net, weights, x, y)
    part, halves = networks.loss_and_grads(net, weights, x, y, factor=0.5)
    assert part == loss and all(np.array_equal(a, 2 * b) for a, b in zip(tree.leaves(grads), tree.leaves(halves)))


def test_weights_follow_their_seed_and_biases_and_norms_start_neutral():
    net = networks.mlp([3, 4, 2], norm=True)
    a, b, c = (networks.init_weights(net, seed) for seed in (1, 1, 2))
    assert np.array_equal(a["layer1"].W, b["layer1"].W) and not np.array_equal(a["layer1"].W, c["layer1"].W)
    assert (a["norm1"].g == 1).all() and not a["norm1"].c.any() and not a["layer2"].c.any()
    assert networks.init_weights(networks.mlp([3, 4, 2], bias=False), 0)["layer1"].c is None
    wide = networks.init_weights(networks.mlp([500, 400, 1], norm=True), 0)["layer1"].W
    assert abs(wide.var() * 500 / 2 - 1) < 0.02  # 200,000 entries; a norm forgives any gain


def test_weights_are_drawn_from_the_stream_of_that_purpose_and_blank_ones_have_the_same_dtype_by_default():
    net = networks.mlp([3, 2], bias=False)
    expected = stream(4, "weights").standard_normal((2, 3)) * np.sqrt(1 / 3)
    np.testing.assert_array_equal(networks.init_weights(net, 4, "float64")["layer1"].W, expected)
    assert (
        networks.blank_weights(net)["layer1"].W.dtype == networks.init_weights(net, 4)["layer1"].W.dtype == "float32"
    )


@pytest.mark.parametrize(
    ("activation", "norm", "gain"), [("relu", False, 2), ("tanh", False, 1), ("tanh", True, 2), ("relu", True, 2)]
)
def test_the_gain_of_a_hidden_layer_is_two_before_a_norm_or_a_half_open_activation(activation, norm, gain):
    layers = networks.mlp([3, 4, 2], activation, norm).layers
    assert (layers["layer1"].gain, layers["layer2"].gain) == (gain, 1)


def test_a_loss_has_its_own_gradient_unless_a_factor_is_asked_for():
    net, z, y = networks.mlp([3, 2], loss="squared-error"), np.ones((1, 2)), np.zeros((1, 2))
    loss, dz = networks.loss_and_dz(net, z, y)
    assert loss == 2 and dz.tolist() == [[2, 2]]


def test_a_network_is_relu_without_norm_and_hard_labels_by_default():
    net = networks.mlp([2, 2, 2])
    assert net.chain == ("layer1", ACTIVATIONS["relu"], "layer2")
    assert (net.loss, net.smoothing) == ("cross-entropy", 0.0)
    assert net.layers == {"layer1": Dense(2, 2, 2.0, True), "layer2": Dense(2, 2, 1.0, True)}


def test_smoothing_reaches_the_loss():
    weights, x, y = params_of(networks.mlp([3, 2]), 1), np.ones((4, 3)), np.array([0, 1, 1, 1])
    z = networks.forward(networks.mlp([3, 2]), weights, x)[0]
    for smoothing in (0.0, 0.4):
        net = networks.mlp([3, 2], smoothing=smoothing)
        assert networks.loss_and_grads(net, weights, x, y)[0] == float(pairs.cross_entropy(z, y, smoothing)[0])


def test_a_regression_does_not_smooth():
    net = networks.mlp([3, 2], loss="squared-error", smoothing=0.4)
    weights, x, y = params_of(net, 1), np.ones((4, 3)), np.ones((4, 2))
    z = networks.forward(net, weights, x)[0]
    assert networks.loss_and_grads(net, weights, x, y)[0] == float(pairs.squared_error(z, y)[0])


def test_the_gradient_of_the_input_is_never_formed(monkeypatch):
    (f, back), asked, passed = networks.PAIRS[networks.Linear], [], []
    watched = lambda dy, cache, wrt_x=True: asked.append(wrt_x) or back(dy, cache, wrt_x)  # noqa: E731
    monkeypatch.setitem(networks.PAIRS, networks.Linear, (f, watched))

    def asked_for(*chain):
        asked.clear()
        net = network(chain)
        weights, x = params_of(net, 1), np.ones((2, 4))
        y, caches = networks.forward(net, weights, x)
        networks.backward(y, caches, net, weights)
        return asked

    assert asked_for("in", TANH, "out") == [True, False]
    assert asked_for(Residual(("in", TANH, "square")), "out") == [True, True, False]
    first = Pair(lambda x: (x, None), lambda dy, _: passed.append(dy))  # like patches, it comes before all layers
    assert asked_for(first, "in", "out")[0] is True and not passed
