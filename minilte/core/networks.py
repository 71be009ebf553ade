"""Networks: chains of layers with weights, pairs without, and residuals around chains.

A step of a chain is the name of a layer, and the type of its parameters says which pair computes it; or a `Pair`; or
a `Residual`. The same chain therefore runs dense (`Linear`), through a head's eyes (`Adapted`), or with whatever pair
a later type brings. Shapes and gains of the layers travel with the network.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.core import layers
from minilte.core.pairs import ACTIVATIONS, LOSSES, Pair
from minilte.core.random import stream
from minilte.core.types import Adapted, Array, Linear, Norm, Weights

PAIRS = {
    Linear: (layers.linear, layers.linear_back),
    Adapted: (layers.lora, layers.lora_back),
    Norm: (layers.layer_norm, layers.layer_norm_back),
}


class Residual(NamedTuple):
    """y = x + chain(x)."""

    chain: tuple


class Dense(NamedTuple):
    """The shape of a linear layer: W ~ N(0, gain / n) at the start (He et al. 2015), c = 0."""

    m: int
    n: int
    gain: float = 1.0  # 2 before a relu, a gelu or a norm
    bias: bool = True


class Affine(NamedTuple):
    """The shape of a layer norm's gain, 1 at the start, and shift, 0."""

    n: int


class Network(NamedTuple):
    """A chain, the shapes of its layers in their order, and the loss that ends it."""

    chain: tuple[str | Pair | Residual, ...]
    layers: dict[str, Dense | Affine]
    loss: str = "cross-entropy"  # or "squared-error"
    smoothing: float = 0.0  # of the labels


GAINS = {"relu": 2.0, "gelu": 2.0, "gelu-tanh": 2.0}  # of other activations 1


def mlp(widths: Sequence[int], activation: str = "relu", norm: bool = False, bias: bool = True, **loss) -> Network:
    """layer1, activation, layer2, … layerL; with `norm`, a layer norm before each activation.

    `widths` counts inputs and outputs: [n, m] is one linear layer; activation "identity" makes it deep linear.
    """
    depth, chain, shapes = len(widths) - 1, [], {}
    for i, (n, m) in enumerate(zip(widths, widths[1:]), 1):
        last = i == depth
        shapes[f"layer{i}"] = Dense(m, n, 1.0 if last else 2.0 if norm else GAINS.get(activation, 1.0), bias)
        chain.append(f"layer{i}")
        if norm and not last:
            shapes[f"norm{i}"] = Affine(m)
            chain.append(f"norm{i}")
        chain += [] if last or activation == "identity" else [ACTIVATIONS[activation]]
    return Network(tuple(chain), shapes, **loss)


def init_weights(net: Network, seed: int, dtype="float32") -> Weights:
    """The main weights at the start, drawn in the order of the network's layers, in float64 and then cast."""
    rng, weights = stream(seed, "weights"), blank_weights(net, dtype)
    for name, shape in net.layers.items():
        if isinstance(shape, Dense):
            W = rng.standard_normal((shape.m, shape.n)) * math.sqrt(shape.gain / shape.n)
            weights[name] = weights[name]._replace(W=W.astype(dtype))
    return weights


def blank_weights(net: Network, dtype="float32") -> Weights:
    """The weights before any W is drawn: matrices that take no memory, biases and norms as they start."""

    def blank(shape):
        if isinstance(shape, Affine):
            return Norm(np.ones(shape.n, dtype), np.zeros(shape.n, dtype))
        W = np.broadcast_to(np.zeros((), dtype), (shape.m, shape.n))
        return Linear(W, np.zeros(shape.m, dtype) if shape.bias else None)

    return {name: blank(shape) for name, shape in net.layers.items()}


def forward(net: Network | Residual, params: dict, x: Array):
    """Outputs of the network and what its backward needs, a cache for each step.    params,(b,n)->(b,m)"""
    caches = []
    for step in net.chain:
        if isinstance(step, Residual):
            y, cache = forward(step, params, x)
            x = x + y
        elif isinstance(step, Pair):
            x, cache = step.f(x)
        else:
            f, _ = PAIRS[type(params[step])]
            x, cache = f(x, *params[step])
        caches.append(cache)
    return x, caches


def backward(dy: Array, caches, net: Network, params: dict) -> dict:
    """Gradients of all parameters, each of its parameters' type. dx of the input is never formed."""
    grads: dict = {}
    back_through(net, dy, caches, params, grads, wrt_x=False)
    return grads


def back_through(net: Network | Residual, dy: Array, caches, params: dict, grads: dict, wrt_x: bool) -> Array | None:
    """dx of a chain; the gradients of its layers go into `grads`, by name."""
    for i, (step, cache) in reversed(list(enumerate(zip(net.chain, caches, strict=True)))):
        needed = wrt_x or not all(isinstance(before, Pair) for before in net.chain[:i])  # the first layer needs no dx
        if isinstance(step, Residual):
            # forward: y = x + chain(x)
            dx = back_through(step, dy, cache, params, grads, needed)
            dy = dy + dx if needed else None
        elif isinstance(step, Pair):
            dy = step.f_back(dy, cache) if needed else None
        else:
            _, back = PAIRS[type(params[step])]
            dy, *rest = back(dy, cache, wrt_x=needed)
            grads[step] = type(params[step])(*rest)
    return dy


def loss_and_grads(net: Network, params: dict, x: Array, y: Array, factor: float = 1.0) -> tuple[float, dict]:
    """Mean loss of a batch, and `factor` times its gradient.

    factor = 1 is the gradient of the batch's own mean; b_n / b makes it a head's part of the gradient of the whole
    batch's mean.
    """
    z, caches = forward(net, params, x)
    loss, dz = loss_and_dz(net, z, y, factor)
    return loss, backward(dz, caches, net, params)


def loss_and_dz(net: Network, z: Array, y: Array, factor: float = 1.0) -> tuple[float, Array]:
    """Mean loss of the network's outputs z, and `factor` times its gradient by z."""
    f, back = LOSSES[net.loss]
    smoothing = (net.smoothing,) if classifies(net) else ()
    loss, cache = f(z, y, *smoothing)
    return float(loss), back(factor, cache)


def classifies(net: Network) -> bool:
    """Are the targets labels?"""
    return net.loss == "cross-entropy"
