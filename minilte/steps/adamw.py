"""AdamW in stretches that fit the cache, on memory that is used again: the bits of `core.optim.adamw`, in less time."""

import math
from collections.abc import Callable

import numpy as np

from minilte.core import optim, tree
from minilte.core.optim import AdamState, Optimizer


def adamw(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0) -> Optimizer:
    """AdamW as `core.optim.adamw` has it, operation by operation; a property pins it to that bit by bit."""

    def step(old, grads, new, t, lr):
        root = math.sqrt(1 - b2**t)
        rate, small, keep = lr * root / (1 - b1**t), root * eps, 1 - lr * weight_decay

        def stretch(p, m, v, old_p, old_m, old_v, g, work):
            np.multiply(old_m, b1, out=m)
            m += np.multiply(g, 1 - b1, out=work)
            np.multiply(old_v, b2, out=v)
            v += np.multiply(np.multiply(g, 1 - b2, out=work), g, out=work)
            np.add(np.sqrt(v, out=work), small, out=work)
            np.multiply(np.divide(m, work, out=work), rate, out=work)
            np.subtract(old_p if keep == 1 else np.multiply(old_p, keep, out=p), work, out=p)

        tree.map(in_chunks(stretch), *new, *old, grads)
        return new[0], AdamState(np.asarray(t), *new[1:])

    def update(params, grads, state, lr):
        old = (params, state.m, state.v)
        new = [tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), numbers) for numbers in old]
        return step(old, grads, new, int(state.count) + 1, lr)

    def in_place(params, grads, state, lr):
        old = (params, state.m, state.v)
        if not all(leaf.flags.c_contiguous for leaf in tree.leaves(old)):
            return update(params, grads, state, lr)
        return step(old, grads, old, int(state.count) + 1, lr)

    return Optimizer(optim.adamw(b1, b2, eps, weight_decay).init, update, in_place)


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
