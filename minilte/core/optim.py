"""Optimizers as (init, update) pairs: state in, state out, over any tree.

    state = optimizer.init(params)
    params, state = optimizer.update(params, grads, state, lr, mine=False)

`mine` says that nobody else holds params and state: their memory may be used for the new ones.
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
    """init(params) -> state; update(params, grads, state, lr, mine=False) -> (params, state)."""

    init: Callable[[Tree], Tree]
    update: Callable[..., tuple[Tree, Tree]]


class SGDState(NamedTuple):
    """Momentum buffers; None without momentum."""

    buf: Tree


class AdamState(NamedTuple):
    """Running means of the gradient and of its square, and how many steps they have seen."""

    count: np.ndarray  # (), int64
    m: Tree
    v: Tree


def zeros(params: Tree) -> Tree:
    """A tree of zeros in the shapes of `params`."""
    return tree.map(np.zeros_like, params)


def sgd(momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """p <- p - lr d, with g <- g + lambda p (coupled decay), buf <- mu buf + g, d = buf, or g + mu buf (Nesterov).

    The buffer starts at zero, so the first step is plain. Source: Sutskever et al. 2013, in the form PyTorch uses.
    """

    def init(params):
        return SGDState(zeros(params) if momentum else None)

    def update(params, grads, state, lr, mine=False):
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
        return AdamState(np.zeros((), np.int64), zeros(params), zeros(params))

    def update(params, grads, state, lr, mine=False):
        t = int(state.count) + 1
        root = math.sqrt(1 - b2**t)
        # m^ / (sqrt(v^) + eps) = root / (1 - b1^t) * m / (sqrt(v) + root eps)
        rate, small, keep = lr * root / (1 - b1**t), root * eps, 1 - lr * weight_decay

        def step(p, m, v, old_p, g, old_m, old_v, work):
            np.multiply(old_m, b1, out=m)
            m += np.multiply(g, 1 - b1, out=work)
            # ((1 - b2) g) g and not (1 - b2) (g g): the square alone overflows earlier
            np.multiply(old_v, b2, out=v)
            v += np.multiply(np.multiply(g, 1 - b2, out=work), g, out=work)
            np.add(np.sqrt(v, out=work), small, out=work)
            np.multiply(np.divide(m, work, out=work), rate, out=work)
            np.subtract(old_p if keep == 1 else np.multiply(old_p, keep, out=p), work, out=p)

        old = (params, state.m, state.v)
        mine = mine and all(leaf.flags.c_contiguous for leaf in tree.leaves(old))
        new = old if mine else [tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), one) for one in old]
        tree.map(in_chunks(step), *new, params, grads, state.m, state.v)
        return new[0], AdamState(np.asarray(t), *new[1:])

    return Optimizer(init, update)


CHUNK = 1 << 16  # numbers: five float32 arrays of them are 1.3 MB, about a core's second-level cache


def in_chunks(f: Callable) -> Callable:
    """f over stretches of its arguments that fit the cache, with a workspace as its last argument.

    Element by element, so the numbers are those of one call over everything.
    """

    def run(*arrays):
        flat = [array.reshape(-1) for array in arrays]
        work = np.empty(min(CHUNK, flat[0].size), flat[0].dtype)
        for start in range(0, flat[0].size, CHUNK):
            part = [array[start : start + CHUNK] for array in flat]
            f(*part, work[: part[0].size])

    return run


def norm(grads: Tree) -> float:
    """The Euclidean norm over all leaves, summed in float64."""
    wide = (np.ravel(leaf).astype(np.float64) for leaf in tree.leaves(grads))
    return math.sqrt(sum(float(leaf @ leaf) for leaf in wide))


def clip(grads: Tree, most: float | None) -> Tree:
    """Scale the whole gradient so that its norm is at most `most`; None leaves it alone."""
    if most is None or (size := norm(grads)) <= most:
        return grads
    return tree.map(lambda g: g * (most / size), grads)
