"""Optimizers as (init, update) pairs: state in, state out, over any tree.

    state = optimizer.init(params)
    params, state = optimizer.update(params, grads, state, lr)

The gradient tree may hold more than the parameters (a frozen bias has a gradient nobody asks for): only the leaves
of `params` are looked at.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.types import Tree


class Optimizer(NamedTuple):
    """init(params) -> state; update(params, grads, state, lr) -> (params, state).

    `in_place`, where there is one, is the same update, which may use the memory of params and state for the new ones.
    """

    init: Callable[[Tree], Tree]
    update: Callable[..., tuple[Tree, Tree]]
    in_place: Callable[..., tuple[Tree, Tree]] | None = None


class SGDState(NamedTuple):
    """Momentum buffers; None without momentum."""

    buf: Tree


class AdamState(NamedTuple):
    """Running means of the gradient and of its square, and how many steps they have seen."""

    count: np.ndarray  # (), int64
    m: Tree
    v: Tree


def sgd(momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """p <- p - lr d, with g <- g + lambda p (coupled decay), buf <- mu buf + g, d = buf, or g + mu buf (Nesterov).

    The buffer starts at zero, so the first step is plain. Source: Sutskever et al. 2013, in the form PyTorch uses.
    """

    def init(params):
        return SGDState(tree.zeros(params) if momentum else None)

    def update(params, grads, state, lr):
        if weight_decay:
            grads = tree.map(lambda p, g: g + weight_decay * p, params, grads)
        if not momentum:
            return tree.map(lambda p, g: p - lr * g, params, grads), state
        buf = tree.map(lambda b, g: momentum * b + g, state.buf, grads)
        move = tree.map(lambda b, g: g + momentum * b, buf, grads) if nesterov else buf
        return tree.map(lambda p, d: p - lr * d, params, move), SGDState(buf)

    return Optimizer(init, update)


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0) -> Optimizer:
    """p <- (1 - lr lambda) p - lr m^ / (sqrt(v^) + eps): decoupled decay (Loshchilov & Hutter 2019).

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, and m^ = m / (1 - b1^t), v^ = v / (1 - b2^t).
    """

    def init(params):
        return AdamState(np.zeros((), np.int64), tree.zeros(params), tree.zeros(params))

    def update(params, grads, state, lr):
        t = int(state.count) + 1
        m = tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.m, grads)
        # ((1 - b2) g) g and not (1 - b2) (g g): the square alone overflows earlier
        v = tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.v, grads)
        # lr m^ / (sqrt(v^) + eps) = rate m / (sqrt(v) + small)
        root = math.sqrt(1 - b2**t)
        rate, small, keep = lr * root / (1 - b1**t), root * eps, 1 - lr * weight_decay
        new = tree.map(lambda p, m, v: keep * p - rate * (m / (np.sqrt(v) + small)), params, m, v)
        return new, AdamState(np.asarray(t), m, v)

    return Optimizer(init, update)


def clip(grads: Tree, most: float | None) -> Tree:
    """The whole gradient, scaled to a Euclidean norm of `most` where it is larger; the norm is summed in float64."""
    if most is None:
        return grads
    wide = [np.ravel(leaf).astype(np.float64) for leaf in tree.leaves(grads)]
    size = math.sqrt(sum(float(leaf @ leaf) for leaf in wide))
    return grads if size <= most else tree.map(lambda g: g * (most / size), grads)
