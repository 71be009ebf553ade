"""Networks from settings: chains with activations, without, and a single layer."""

import numpy as np
import pytest

from minilte.core import networks
from minilte.core.errors import BadInput
from minilte.core.networks import Dense, mlp
from minilte.core.pairs import ACTIVATIONS
from minilte.networks.mlp import MLP, DeepLinear, OneLayer


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_is_that_of_its_settings(activation):
    made = MLP((5, 4), activation, norm=True, bias=False, label_smoothing=0.1).build(7, 3, "cross-entropy")
    assert made == mlp([7, 5, 4, 3], activation, True, False, loss="cross-entropy", smoothing=0.1)
    assert made.chain.count(ACTIVATIONS[activation]) == 2 and made.layers["layer3"] == Dense(3, 4, 1.0, False)


def test_a_deep_linear_network_is_a_product_of_matrices():
    net = DeepLinear((5, 4)).build(7, 3, "squared-error")
    assert net == mlp([7, 5, 4, 3], "identity", loss="squared-error") and len(net.chain) == 3
    weights, x = networks.init_weights(net, 0, "float64"), np.eye(7)
    product = weights["layer3"].W @ weights["layer2"].W @ weights["layer1"].W
    np.testing.assert_allclose(networks.forward(net, weights, x)[0], product.T, atol=1e-14)  # rounding
    normed = DeepLinear((5,), norm=True, bias=False).build(7, 3, "squared-error")
    assert normed.layers["layer1"] == Dense(5, 7, 2.0, False) and normed.chain == ("layer1", "norm1", "layer2")


def test_a_single_layer():
    net = OneLayer(bias=False, label_smoothing=0.2).build(7, 3, "cross-entropy")
    assert net == mlp([7, 3], "identity", bias=False, loss="cross-entropy", smoothing=0.2) and net.chain == (
        "layer1",
    )


def test_what_a_run_has_by_default():
    assert MLP().build(784, 10, "cross-entropy") == mlp([784, 256, 256, 10], loss="cross-entropy")
    for wrong in (dict(widths=(0,)), dict(activation="sigmoid"), dict(label_smoothing=1.0)):
        with pytest.raises(BadInput):
            MLP(**wrong)
