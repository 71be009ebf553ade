"""DARE: every entry of a head's change is dropped with probability p, those that stay make up for it, then the mean.

    D_n = s_n (B_n A_n - V_n),   W <- W + sum_n w_n keep_n * D_n / (1 - p),   P(keep_n = 1) = 1 - p, entry by entry

In the mean over the masks it is the mean rule; an entry has variance p / (1 - p) sum_n w_n^2 D_n^2. The paper drops
once, after training, and puts several rules behind it: here every merge draws its own masks, and the mean follows.
What is dropped stays out of W for good, for V_n counts it as merged. Replicas are averaged.

Masks follow from (seed, merge, layer, place among the heads that merge) alone, not from who computes which rows. The merged change has no low
rank (L2 falls), and W is not the sum of the V_n (L1, so L3 and L9), nor the mean of the heads (L13), nor a single
head's weight (L10). Equal heads have unequal masks (L15, L20-order). Right after a merge all heads agree (L10-all).
Source: Yu et al. 2023, section 3.
"""

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np

from minilte.core.random import stream
from minilte.core.types import Adapter, Array, Rule
from minilte.rules.changes import layer_by_layer, plus_blocks
from minilte.settings.knob import knob
from minilte.settings.part import part


def dare(drop: float = 0.5, seed: int = 0) -> Rule:
    """The rule; it remembers the number of merges so far, so that each of them has its own masks."""

    def merge(done, *work):
        layers = count()
        step = lambda W, moves, w, each: plus_kept(W, moves, w, drop, (seed, int(done), next(layers)), each)  # noqa: E731
        weights, _ = layer_by_layer(step)(None, *work)
        return weights, np.asarray(done + 1)

    return Rule(lambda weights: np.zeros((), np.int64), merge)


def plus_kept(
    W: Array,
    moves: Sequence[Adapter],
    w: Sequence[float],
    drop: float,
    key: tuple[int, int, int],
    each: Callable = map,
) -> Array:
    """W and the mean of the moves B_n A_n without what is dropped, block of rows by block of rows.

    key: (seed, merges before, number of the layer).    (m,n),((r_n,n),(m,r_n))->(m,n)
    """

    def kept(head, rows):
        D = moves[head].B[rows] @ moves[head].A
        return w[head] * np.where(mask(drop, key, head, rows.start, D.shape), D / (1 - drop), 0)

    return plus_blocks(W, lambda rows: sum(kept(head, rows) for head in range(len(w))), each)  # one D_n at a time


def mask(drop: float, key: tuple[int, int, int], head: int, start: int, shape: tuple[int, int]) -> Array:
    """Which entries stay of the rows from `start` on: a part of the mask of the whole layer.    ->shape

    A stream for each head and merge; a layer is 2^128 draws of it away from the layer before.
    """
    seed, merge, layer = key
    bits = stream(seed, "dare", head, merge).bit_generator.jumped(layer)
    bits.advance(start * shape[1] // 4)  # Philox makes four numbers at a time; blocks begin at a multiple of ROWS
    return np.random.Generator(bits).random(shape) >= drop


@part("rule", "dare", needs={"each"})
class Dare:
    """Drop entries of a change at random, rescale the others, mean (Yu et al. 2023)."""

    drop: float = knob(0.5, "probability that an entry of a head's change is dropped", least=0.0, below=1.0)

    def build(self, config) -> Rule:
        return dare(self.drop, config.seed)
