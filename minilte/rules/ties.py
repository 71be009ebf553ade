"""TIES: trim every head's change to its largest entries, elect a sign, take the mean of those that agree.

    D_n = s_n (B_n A_n - V_n), only its largest `density` of entries kept;  sign = sign(sum_n w_n D_n)
    W <- W + sum_n w_n D_n [sign D_n = sign] / sum_n w_n [sign D_n = sign],  entry by entry

Replicas are averaged. The merged change has no low rank (L2 falls), and V_n is no longer what W has of a head (L1
falls); right after a merge all heads agree (L10). Source: Yadav et al. 2023, algorithm 1.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from minilte.core.head import overlay
from minilte.core.layers import change
from minilte.core.lora import ROWS
from minilte.core.lte import mean
from minilte.core.types import Adapter, Array, Rule
from minilte.settings.knob import knob
from minilte.settings.part import part


def ties(density: float = 0.2) -> Rule:
    """The rule; `density` is the part of a layer's entries that a head keeps."""

    def merge(state, weights, sent, then, scales, w, each):
        layers = overlay(weights, mean([head.replicas for head in sent], w))
        for name in sent[0].factors:
            now = [head.factors[name] for head in sent]
            pairs = now if then is None else [change(pair, V[name]) for pair, V in zip(now, then, strict=True)]
            moves = [Adapter(A, s[name] * B) for (A, B), s in zip(pairs, scales, strict=True)]
            layers[name] = layers[name]._replace(W=plus_elected(weights[name].W, moves, w, density, each))
        return layers, state

    return Rule(lambda weights: None, merge)


def plus_elected(
    W: Array, moves: Sequence[Adapter], w: Sequence[float], density: float, each: Callable = map
) -> Array:
    """W and the elected mean of the moves B_n A_n, block of rows by block of rows.

    To find what to keep, a thread holds the magnitudes of a head's whole change, m n numbers; then a block of each head.

    Shapes: (m,n),((r_n,n),(m,r_n))->(m,n).
    """
    new, starts = np.empty_like(W), range(0, len(W), ROWS)
    rows = lambda move, start: move.B[start : start + ROWS] @ move.A  # noqa: E731

    def least(move):
        """The magnitude of the last entry that is kept."""
        sizes = np.empty_like(W)
        for start in starts:
            np.abs(rows(move, start), out=sizes[start : start + ROWS])
        sizes, last = sizes.reshape(-1), sizes.size - max(1, math.ceil(density * sizes.size))
        sizes.partition(last)  # in place
        return sizes[last]

    limits = list(each(least, moves))

    def block(start):
        trimmed = [np.where(np.abs(D) >= limit, D, 0) for D, limit in zip((rows(m, start) for m in moves), limits)]
        sign = np.sign(mean(trimmed, w))
        agree = [np.sign(D) == sign for D in trimmed]
        weight = mean([same.astype(W.dtype) for same in agree], w)
        total = mean([np.where(same, D, 0) for same, D in zip(agree, trimmed)], w)
        new[start : start + ROWS] = W[start : start + ROWS] + total / np.where(weight > 0, weight, 1)

    list(each(block, starts))
    return new


@part("rule", "ties", needs={"each"})
class Ties:
    """Trim to the largest, elect a sign, mean of those that agree (Yadav et al. 2023)."""

    density: float = knob(0.2, "part of a head's change that is kept", above=0.0, most=1.0)

    def build(self) -> Rule:
        return ties(self.density)
