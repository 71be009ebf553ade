"""TIES: trim every head's change to its largest entries, elect a sign, take the mean of those that agree.

    D_n = s_n (B_n A_n - V_n), only its largest `density` of entries kept;  sign = sign(sum_n w_n D_n)
    W <- W + sum_n w_n D_n [sign D_n = sign] / sum_n w_n [sign D_n = sign],  entry by entry

Replicas are averaged. The merged change has no low rank (L2 falls), and V_n is no longer what W has of a head (L1
falls); right after a merge all heads agree (L10). Source: Yadav et al. 2023, algorithm 1.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from minilte.core.lora import ROWS
from minilte.core.lte import mean
from minilte.core.types import Adapter, Array, Rule
from minilte.rules.changes import layer_by_layer, plus_blocks
from minilte.settings.knob import knob
from minilte.settings.part import part


def ties(density: float = 0.2) -> Rule:
    """The rule; `density` is the part of a layer's entries that a head keeps."""
    return Rule(
        lambda weights: None, layer_by_layer(lambda W, moves, w, each: plus_elected(W, moves, w, density, each))
    )


def plus_elected(
    W: Array, moves: Sequence[Adapter], w: Sequence[float], density: float, each: Callable = map
) -> Array:
    """W and the elected mean of the moves B_n A_n, block of rows by block of rows.

    To find what to keep, a thread holds the magnitudes of a head's whole change, m n numbers; then a block of each head.

    Shapes: (m,n),((r_n,n),(m,r_n))->(m,n).
    """

    def least(move):
        """The magnitude of the last entry that is kept."""
        sizes = np.empty_like(W)
        for start in range(0, len(W), ROWS):
            np.abs(move.B[start : start + ROWS] @ move.A, out=sizes[start : start + ROWS])
        sizes, last = sizes.reshape(-1), sizes.size - max(1, math.ceil(density * sizes.size))
        sizes.partition(last)  # in place
        return sizes[last]

    limits = list(each(least, moves))

    def block(rows):
        trimmed = [np.where(np.abs(D) >= limit, D, 0) for D, limit in zip((B[rows] @ A for A, B in moves), limits)]
        sign = np.sign(mean(trimmed, w))
        agree = [np.sign(D) == sign for D in trimmed]
        weight = mean([same.astype(W.dtype) for same in agree], w)
        total = mean([np.where(same, D, 0) for same, D in zip(agree, trimmed)], w)
        return total / np.where(weight > 0, weight, 1)

    return plus_blocks(W, block, each)


@part("rule", "ties", needs={"each"})
class Ties:
    """Trim to the largest, elect a sign, mean of those that agree (Yadav et al. 2023)."""

    density: float = knob(0.2, "part of a head's change that is kept", above=0.0, most=1.0)

    def build(self, config) -> Rule:
        return ties(self.density)
