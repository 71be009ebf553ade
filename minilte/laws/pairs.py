"""Every backward pass is the derivative of its forward: layers, pairs without weights, networks with residuals."""

import numpy as np
from hypothesis import strategies as st

from minilte.core import layers, networks, pairs, tree
from minilte.core.gradcheck import gradient_error
from minilte.core.head import replica_of, seen, trained_grads
from minilte.core.networks import Affine, Dense, Network, Residual
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Norm
from minilte.laws.law import law
from minilte.laws.strategies import seeds, sizes
from minilte.laws.world import worst
from minilte.networks.residual_mlp import residual_mlp

COMPLEX_BAR, CENTRAL_BAR = 1e-12, 1e-7
BARS = "error over 1e-12 by complex step, or over 1e-7 by five-point differences, whichever is larger"


def off(f, f_back, args, frozen=()) -> float:
    """The error of a backward pass in units of the bars."""
    return worst(
        [
            gradient_error(f, f_back, args, method="complex", frozen=frozen) / COMPLEX_BAR,
            gradient_error(f, f_back, args, frozen=frozen) / CENTRAL_BAR,
        ]
    )


SHAPES = st.tuples(st.lists(sizes, min_size=1, max_size=2).map(tuple), sizes, sizes, sizes)  # leading axes, m, n, r


def all_pairs(shape, seed: int) -> dict[str, tuple]:
    """name -> f, f_back, arguments and, if any, the indices of those without a gradient; inputs are away from kinks."""
    (lead, m, n, r), normal = shape, stream(seed, "check").standard_normal
    x, t, few = normal((*lead, n)), normal((*lead, m, n)), min(r, 2)
    labels, target = stream(seed, "check", 1).integers(0, n, lead), normal(x.shape)
    pair = lambda: Adapter(normal((r, n)), normal((m, r)))  # noqa: E731
    norm = lambda *args: layers.layer_norm(*args, eps=0.1)  # noqa: E731
    entropy, squares = lambda z: pairs.cross_entropy(z, labels, 0.1), lambda y: pairs.squared_error(y, target)
    found = {
        "linear": (layers.linear, layers.linear_back, (x, normal((m, n)), normal(m))),
        "lora": (layers.lora, layers.lora_back, (x, normal((m, n)), normal(m), 0.7, pair(), pair()), (1, 5)),  # W, V
        "layer-norm": (norm, layers.layer_norm_back, (x, normal(n), normal(n))),
        "cross-entropy": (entropy, pairs.cross_entropy_back, (x,)),
        "squared-error": (squares, pairs.squared_error_back, (x,)),
        "attention": (*pairs.attention(few), (normal((lead[0], m, 3 * few * n)),)),
        "patches": (*pairs.patches(m * few, n * few, few), (normal((lead[0], m * n * few**2)),)),
        "transpose": (*pairs.transpose, (t,)),
        "mean-of-tokens": (*pairs.mean_of_tokens, (t,)),
    }
    return found | {name: (*pair, (x + 0.01 * np.sign(x),)) for name, pair in pairs.ACTIVATIONS.items()}


def errors(shape, seed: int) -> dict[str, float]:
    """The error of every backward pass in units of the bars."""
    return {name: off(*hundredth(f, f_back), *rest) for name, (f, f_back, *rest) in all_pairs(shape, seed).items()}


def hundredth(f, f_back):
    """The pair of f / 100: gradients of f below 0.1 are then compared on the scale of 0.1, where rounding is far below the bars."""

    def f_small(*args):
        y, cache = f(*args)
        return 0.01 * y, cache

    return f_small, lambda dy, cache: f_back(0.01 * dy, cache)


@law(
    "gradients",
    "Backward is the derivative",
    "the backward of every layer, and of every pair without weights, agrees with complex step and with differences, for a random upstream gradient",
    lambda: st.tuples(SHAPES, seeds),
    1.0,
    BARS,
)
def gradients(case, variant):
    """The chain rule, written beside every line of the backward passes."""
    return worst(errors(*case).values())


GELU = pairs.ACTIVATIONS["gelu-tanh"]
MLP = Residual(("norm2", "fc1", GELU, "fc2"))
MLP_SHAPES = {"norm2": Affine(4), "fc1": Dense(5, 4), "fc2": Dense(4, 5), "head": Dense(3, 4)}
VIT = Network(
    (
        pairs.patches(2, 4, 2),  # two tokens of four numbers
        "embed",
        Residual(("norm1", "qkv", pairs.attention(2), "proj")),
        MLP,
        pairs.mean_of_tokens,
        "head",
    ),
    {"embed": Dense(4, 4), "norm1": Affine(4), "qkv": Dense(12, 4), "proj": Dense(4, 4), **MLP_SHAPES},
)
MIXER = Network(
    (
        Residual(("norm1", pairs.transpose, "tokens1", GELU, "tokens2", pairs.transpose)),
        MLP,
        pairs.mean_of_tokens,
        "head",
    ),
    {"norm1": Affine(4), "tokens1": Dense(5, 3, bias=False), "tokens2": Dense(3, 5), **MLP_SHAPES},
)
NETWORKS = {  # the network, and the shape of its input
    "residual-mlp": (residual_mlp((3, 4, 4, 4, 2), "tanh"), (2, 3)),
    "vit": (VIT, (2, 8)),
    "mixer": (MIXER, (2, 3, 4)),
}


def drawn(net: Network, normal) -> dict:
    """Weights as in the middle of a run: no bias is 0, no gain is 1."""
    weights: dict = {}
    for name, shape in net.layers.items():
        if isinstance(shape, Affine):
            weights[name] = Norm(1 + 0.3 * normal(shape.n), 0.3 * normal(shape.n))
        else:
            weights[name] = Linear(0.5 * normal((shape.m, shape.n)), normal(shape.m) if shape.bias else None)
    return weights


@law(
    "gradients-chain",
    "Backward through residuals",
    "the backward of a residual MLP, a ViT block and a Mixer block, plain and as a head sees them, agrees with complex step and with differences, along a random direction of every array",
    lambda: st.tuples(st.sampled_from(list(NETWORKS)), st.integers(0, 2), seeds),
    1.0,
    BARS,
)
def network_gradients(case, variant):
    """The chain rule along a chain; around a residual y = x + chain(x), dx is the sum over both paths."""
    name, r, seed = case
    (net, shape), normal = NETWORKS[name], stream(seed, "check").standard_normal
    weights = drawn(net, normal)
    dense = {name: layer.W.shape for name, layer in weights.items() if isinstance(layer, Linear) and r}
    now, then = (
        {name: Adapter(0.5 * normal((r, n)), 0.5 * normal((m, r))) for name, (m, n) in dense.items()}
        for _ in range(2)
    )  # none of rank 0: the plain network
    point = (now, replica_of(weights, now)), normal(shape)
    direction = tree.map(lambda leaf: 0.01 * normal(leaf.shape), point)  # short: a layer norm may be bent sharply
    see = lambda trained: seen(weights, *trained, then, dict.fromkeys(now, 0.7))  # noqa: E731

    def f(along):
        trained, x = tree.map(lambda leaf, by, t: leaf + t * by, point, direction, along)
        y, caches = networks.forward(net, see(trained), x)
        return y, (trained, caches)

    def f_back(dy, cache):
        trained, caches = cache
        params = see(trained)
        grads = trained_grads(networks.backward(dy, caches, net, params), trained)
        dx = networks.back_through(net, dy, caches, params, {}, wrt_x=True)
        return (tree.map(lambda grad, by: np.sum(grad * by), (grads, dx), direction),)

    return off(f, f_back, (tree.map(lambda leaf: np.zeros(()), point),))
