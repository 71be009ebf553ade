"""Loss and accuracy of a whole set, chunk by chunk."""

import numpy as np
import pytest

from minilte.core import networks, tree
from minilte.core.random import stream
from minilte.measure.score import evaluate


def params_of(net, seed):
    draw = stream(seed, "check", 1)
    weights = networks.init_weights(net, seed, "float64")
    return tree.map(lambda leaf: leaf + 0.3 * draw.standard_normal(leaf.shape), weights)


@pytest.mark.parametrize("chunk", [1, 4, 10, 4096])
def test_an_evaluation_in_chunks_is_the_mean_over_the_whole_set(chunk):
    net = networks.mlp([3, 4, 2], "tanh")
    weights, x = params_of(net, 2), stream(2, "check").standard_normal((10, 3))
    y = np.arange(10) % 2
    loss, accuracy = evaluate(net, weights, x, y, chunk)
    whole, _ = networks.loss_and_grads(net, weights, x, y)
    assert abs(loss - whole) < 1e-14  # a rounding of every chunk
    assert accuracy == (networks.forward(net, weights, x)[0].argmax(axis=1) == y).mean()


def test_labels_are_hard_in_an_evaluation():
    net = networks.mlp([3, 2], smoothing=0.4)
    weights, x, y = params_of(net, 1), np.ones((4, 3)), np.array([0, 1, 1, 1])
    assert evaluate(net, weights, x, y)[0] == evaluate(net._replace(smoothing=0.0), weights, x, y)[0]


def test_a_regression_has_no_accuracy():
    net = networks.mlp([3, 2], loss="squared-error")
    weights, x, y = params_of(net, 3), np.ones((4, 3)), np.ones((4, 2))
    assert evaluate(net, weights, x, y) == (pytest.approx(networks.loss_and_grads(net, weights, x, y)[0]), None)
