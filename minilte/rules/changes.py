"""What rules have in common that look at the heads' changes one by one, D_n = s_n (B_n A_n - V_n), layer by layer.

A change stays a pair of factors; whoever needs its entries multiplies a block of rows at a time (law L5).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from minilte.core import tree
from minilte.core.head import overlay
from minilte.core.layers import change
from minilte.core.lora import ROWS
from minilte.core.lte import mean
from minilte.core.types import Adapter, Adapters, Array, Sent


def layer_by_layer(step: Callable, replicas: Callable = mean) -> Callable:
    """The `merge` of a rule: step(W, moves, w, each) -> W in every adapted layer; replicas(copies, w) of the replicas."""

    def merge(state, weights, sent, then, scales, w, each):
        layers = overlay(weights, replicas([head.replicas for head in sent], w))
        for name in sent[0].factors:
            W = step(weights[name].W, moves(name, sent, then, scales), w, each)
            layers[name] = layers[name]._replace(W=W)
        return layers, state

    return merge


def entry_by_entry(combine: Callable) -> Callable:
    """The `merge` of a rule that looks at every entry alone: combine(values, w) of the N changes' entries.    (N,…)->(…)

    What is added to all values must come out added, as from a mean: then copies of replicas combine as their changes do.
    At most 2 N blocks of `ROWS` rows are held at once by a thread, beside what `combine` holds.
    """

    def step(W, moves, w, each):
        return plus_blocks(W, lambda rows: combine(np.stack([B[rows] @ A for A, B in moves]), w), each)

    def replicas(copies, w):
        return tree.map(lambda *leaves: combine(np.stack(leaves), w), *copies)

    return layer_by_layer(step, replicas)


def moves(
    name: str, sent: Sequence[Sent], then: Sequence[Adapters] | None, scales: Sequence[dict[str, float]]
) -> list[Adapter]:
    """D_n of every head in a layer as a pair, s_n in its B; of rank 2 r_n where something was merged before."""
    now = [head.factors[name] for head in sent]
    pairs = now if then is None else [change(pair, V[name]) for pair, V in zip(now, then, strict=True)]
    return [Adapter(A, s[name] * B) for (A, B), s in zip(pairs, scales, strict=True)]


def plus_blocks(W: Array, block: Callable[[slice], Array], each: Callable = map) -> Array:
    """W + what `block` makes of each block of rows, as a new array; `each` maps over the blocks.    (m,n)->(m,n)"""
    new = np.empty_like(W)

    def add(start):
        rows = slice(start, start + ROWS)
        new[rows] = W[rows] + block(rows)

    list(each(add, range(0, len(W), ROWS)))
    return new


def moved(now: Adapters, then: Adapters | None, scales: dict[str, float]) -> float:
    """How far a head moved since the last merge: |s (B A - V)|_F over all layers, from the factors alone.

    |B A|^2 = sum of (B^T B) * (A A^T), two r x r matrices. Infinite where a factor is not finite, or too large to square.
    """
    total = 0.0
    for name, pair in now.items():
        A, B = pair if then is None else change(pair, then[name])
        total += scales[name] ** 2 * float(np.sum((B.T @ B).astype(np.float64) * (A @ A.T)))
    return math.sqrt(max(0.0, total)) if math.isfinite(total) else math.inf
