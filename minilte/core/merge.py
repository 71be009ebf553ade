"""The merge: many low-rank changes become one change of the main weights."""

from collections.abc import Callable, Sequence

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.head import overlay
from minilte.core.layers import change
from minilte.core.types import (
    Adapter,
    Adapters,
    Array,
    Comm,
    Guard,
    Head,
    Main,
    Merging,
    Rule,
    Sent,
    Topology,
    Tree,
    Weights,
)


def merged(
    weights: Weights,
    sent: Sequence[Sent],
    then: Sequence[Adapters] | None,
    scales: Sequence[dict[str, float]],
    w: Sequence[float],
    each: Callable = map,
) -> Weights:
    """W <- W + sum_n w_n s_n (B_n A_n - V_n) in every adapted layer; replicas are averaged with the same w_n.

    All heads' factors are stacked first, so a layer costs one product of m x R by R x n and O(mn) memory, never an
    m x n matrix a head (law L5). Source: section 3.3; the reset-less form with V_n is that of section 3.4.
    """
    layers = overlay(weights, mean([head.replicas for head in sent], w))
    for name in sent[0].factors:
        now = [head.factors[name] for head in sent]
        moves = now if then is None else [change(one, V[name]) for one, V in zip(now, then, strict=True)]
        parts = [w_n * s[name] for w_n, s in zip(w, scales, strict=True)]
        layers[name] = layers[name]._replace(W=plus_products(weights[name].W, moves, parts, each))
    return layers


MEAN = Rule(lambda weights: None, lambda state, *merge: (merged(*merge), state))  # the rule of the paper


def by_everyone(comm: Comm, main: Main, heads: Sequence[Head], step: int, parts: Merging) -> tuple[Main, list[float]]:
    """Every rank hears every head's factors, and makes the same merge of them."""
    sent, losses = comm.gather(contributions(heads), parts.like, [head.loss for head in heads])
    return combined(main, sent, parts, comm.each), losses


TRUSTING = Guard(lambda heads: None, lambda sent, *_: (sent, None), lambda task, head, *_: head)
ALLGATHER = Topology(lambda comm, main, step: main, by_everyone, lambda main: main, lambda factors: factors)


def contributions(heads: Sequence[Head]) -> list[Sent]:
    """What the heads of a rank have to say at a merge."""
    return [Sent(head.now, head.replica) for head in heads]


def combined(main: Main, sent: Sequence[Sent], parts: Merging, each: Callable = map) -> Main:
    """The main state after a merge of all heads by the method's rule; V_n becomes what head n sent."""
    sent, trust = parts.guard.check(sent, main, parts.scales, each)
    weights, state = parts.rule.merge(main.rule, main.weights, sent, main.then, parts.scales, parts.w, each)
    return Main(weights, tuple(head.factors for head in sent) if parts.keep else None, state, trust)


def shares(heads: int, w: Sequence[float] | None = None) -> list[float]:
    """The heads' shares w_n: 1/N each, or N from 0 up that sum to 1, so that a merge is a mean (L13); else BadInput.

    >>> shares(2), shares(2, [0.75, 0.25])
    ([0.5, 0.5], [0.75, 0.25])
    """
    w = [1 / heads] * heads if w is None else [float(one) for one in w]
    if len(w) != heads or not min(w) >= 0 or not abs(sum(w) - 1) <= 1e-9:
        raise BadInput(
            f"shares: expected {heads} shares of at least 0 that sum to 1, got {', '.join(map(str, w)):.60}"
        )
    return w


ROWS = 256  # of a block of the product; fixed, so that the bits do not depend on who computes which block


def plus_products(W: Array, pairs: Sequence[Adapter], scales: Sequence[float], each: Callable = map) -> Array:
    """W + sum_n s_n B_n A_n, as a new array, block of rows by block of rows; `each` maps over the blocks.

    Shapes: (m,n),((r_n,n),(m,r_n)),()->(m,n). A block is one product, of its rows of the stacked factors (law L5).
    """
    new, A = np.empty_like(W), np.concatenate([pair.A for pair in pairs])

    def block(start):
        rows = slice(start, start + ROWS)
        B = np.concatenate([s * pair.B[rows] for s, pair in zip(scales, pairs, strict=True)], axis=1)
        np.matmul(B, A, out=new[rows])
        new[rows] += W[rows]

    list(each(block, range(0, len(W), ROWS)))
    return new


def mean(trees: Sequence[Tree], w: Sequence[float]) -> Tree:
    """sum_n w_n tree_n, added in head order so that the bits do not depend on who adds."""

    def add(*leaves):
        total = w[0] * leaves[0]
        for w_n, leaf in zip(w[1:], leaves[1:], strict=True):
            total += w_n * leaf
        return total

    return tree.map(add, *trees)
