"""Every backward pass is the derivative of its forward."""

import numpy as np
from hypothesis import strategies as st

from minilte.core import layers
from minilte.core.gradcheck import gradient_error
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.laws.law import law
from minilte.laws.strategies import seeds, sizes
from minilte.laws.world import worst

SHAPES = st.tuples(st.lists(sizes, min_size=1, max_size=2).map(tuple), sizes, sizes, sizes)


def arguments(name: str, shape, seed: int):
    """(f, f_back, arguments) of a layer for leading axes, m, n and r; drawn away from kinks."""
    lead, m, n, r = shape
    normal = stream(seed, "check").standard_normal
    x = normal((*lead, n))
    pair = lambda: Adapter(normal((r, n)), normal((m, r)))  # noqa: E731
    if name in layers.ACTIVATIONS:
        return (*layers.ACTIVATIONS[name], (x + 0.01 * np.sign(x),))
    if name == "cross-entropy":
        labels = stream(seed, "check", 1).integers(0, n, lead)
        return lambda z: layers.cross_entropy(z, labels, 0.1), layers.cross_entropy_back, (x,)
    if name == "squared-error":
        target = normal(x.shape)
        return lambda y: layers.squared_error(y, target), layers.squared_error_back, (x,)
    if name == "layer-norm":
        return lambda *a: layers.layer_norm(*a, eps=0.1), layers.layer_norm_back, (x, normal(n), normal(n))
    if name == "linear":
        return layers.linear, layers.linear_back, (x, normal((m, n)), normal(m))
    return layers.lora, layers.lora_back, (x, normal((m, n)), normal(m), 0.7, pair(), pair())


NAMES = [*layers.ACTIVATIONS, "cross-entropy", "squared-error", "layer-norm", "linear", "lora"]
COMPLEX_BAR, CENTRAL_BAR = 1e-12, 1e-7


@law(
    "gradients",
    "Backward is the derivative",
    "every layer's backward agrees with complex step and with differences, for a random upstream gradient",
    lambda: st.tuples(st.sampled_from(NAMES), SHAPES, seeds),
    1.0,
    "error over 1e-12 by complex step, or over 1e-7 by five-point differences, whichever is larger",
)
def gradients(case, variant):
    """The chain rule, written beside every line of the backward passes."""
    f, f_back, args = arguments(*case)
    frozen = (1, 5) if case[0] == "lora" else ()  # W and V
    return worst(
        [
            gradient_error(f, f_back, args, method="complex", frozen=frozen) / COMPLEX_BAR,
            gradient_error(f, f_back, args, frozen=frozen) / CENTRAL_BAR,
        ]
    )
