"""Networks as chains of the pairs in `layers`: linear, deep linear, MLP.

A network is a chain of names. A name that is a key of the parameters is a layer with weights, and the type of its
parameters says which pair computes it; any other name is an activation. The same chain therefore runs dense
(`Linear`), through a head's eyes (`Adapted`), or with whatever pair a later type brings.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.core import layers
from minilte.core.random import stream
from minilte.core.types import Adapted, Array, Linear, Norm, Weights

PAIRS = {
    Linear: (layers.linear, layers.linear_back),
    Adapted: (layers.lora, layers.lora_back),
    Norm: (layers.layer_norm, layers.layer_norm_back),
}


class Network(NamedTuple):
    """A chain of layer and activation names, and the loss that ends it."""

    chain: tuple[str, ...]
    loss: str = "cross-entropy"  # or "squared-error"
    smoothing: float = 0.0  # of the labels


def mlp(widths: Sequence[int], activation: str = "relu", norm: bool = False, **loss) -> Network:
    """layer1, activation, layer2, … layerL; with `norm`, a layer norm before each activation.

    `widths` counts inputs and outputs: [n, m] is one linear layer; activation "identity" makes it deep linear.
    """
    depth, chain = len(widths) - 1, []
    for i in range(1, depth + 1):
        hidden = [f"norm{i}"] * norm + [activation]
        chain += [f"layer{i}"] + hidden * (i < depth)
    return Network(tuple(chain), **loss)


GAINS = {"relu": 2.0, "gelu": 2.0, "gelu-tanh": 2.0, "tanh": 1.0, "identity": 1.0}


def init_weights(net: Network, widths: Sequence[int], seed: int, dtype="float32", bias: bool = True) -> Weights:
    """Main weights W ~ N(0, gain / n), gain 2 before a relu, a gelu or a norm (He et al. 2015), else 1; biases zero."""
    rng, weights = stream(seed, "weights"), blank_weights(net, widths, dtype, bias)
    for name, following in zip(net.chain, [*net.chain[1:], "identity"]):
        if isinstance(layer := weights.get(name), Linear):
            gain = 2.0 if "norm" in following else GAINS[following]
            W = rng.standard_normal(layer.W.shape) * math.sqrt(gain / layer.W.shape[1])
            weights[name] = layer._replace(W=W.astype(dtype))
    return weights


def blank_weights(net: Network, widths: Sequence[int], dtype="float32", bias: bool = True) -> Weights:
    """The weights of a network before any W is drawn: matrices that take no memory, biases and norms as they start."""
    weights, dense = {}, 0
    for name in net.chain:
        if name.startswith("layer"):
            n, m = widths[dense : dense + 2]
            dense += 1
            W = np.broadcast_to(np.zeros((), dtype), (m, n))
            weights[name] = Linear(W, np.zeros(m, dtype) if bias else None)
        elif name.startswith("norm"):
            weights[name] = Norm(np.ones(widths[dense], dtype), np.zeros(widths[dense], dtype))
    return weights


def forward(net: Network, params: dict, x: Array):
    """Outputs of the network and what its backward needs.    params,(b,n)->(b,m)"""
    caches = []
    for name in net.chain:
        if name in params:
            f, back = PAIRS[type(params[name])]
            x, cache = f(x, *params[name])
        else:
            f, back = layers.ACTIVATIONS[name]
            x, cache = f(x)
        caches.append((name, back, cache))
    return x, caches


def backward(dy: Array, caches, params: dict) -> dict:
    """Gradients of all parameters, each of its parameters' type. dx of the input is never formed."""
    grads = {}
    for i, (name, back, cache) in reversed(list(enumerate(caches))):
        if name in params:
            dy, *rest = back(dy, cache, wrt_x=i > 0)
            grads[name] = type(params[name])(*rest)
        else:
            dy = back(dy, cache)
    return grads


LOSSES = {
    "cross-entropy": (layers.cross_entropy, layers.cross_entropy_back),
    "squared-error": (layers.squared_error, layers.squared_error_back),
}


def loss_and_grads(net: Network, params: dict, x: Array, y: Array, share: float = 1.0) -> tuple[float, dict]:
    """Mean loss of a batch, and `share` times its gradient.

    share = 1 is the gradient of the batch's own mean; b_n / b makes it a head's part of the gradient of the whole
    batch's mean.
    """
    z, caches = forward(net, params, x)
    loss, dz = loss_and_dz(net, z, y, share)
    return loss, backward(dz, caches, params)


def loss_and_dz(net: Network, z: Array, y: Array, share: float = 1.0) -> tuple[float, Array]:
    """Mean loss of the network's outputs z, and `share` times its gradient by z."""
    f, back = LOSSES[net.loss]
    smoothing = (net.smoothing,) if net.loss == "cross-entropy" else ()
    loss, cache = f(z, y, *smoothing)
    return float(loss), back(share, cache)


def evaluate(net: Network, params: dict, x: Array, y: Array, chunk: int = 4096) -> tuple[float, float | None]:
    """Mean loss, and accuracy (None for a regression), over a whole set; in chunks of rows, so memory stays bounded."""
    f, _ = LOSSES[net.loss]
    loss, right = 0.0, 0
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        z, _ = forward(net, params, x[part])
        loss += float(f(z, y[part])[0]) * len(x[part])
        right += int((z.argmax(axis=-1) == y[part]).sum()) if net.loss == "cross-entropy" else 0
    return loss / len(x), (right / len(x) if net.loss == "cross-entropy" else None)
