"""Norm bounding: no head's change is longer than `clip_at` times the median length; the mean of what is left.

    D_n = s_n (B_n A_n - V_n) in all layers, and the change of the replicas;   tau = clip_at median |D_n|_F
    W <- W + sum_n w_n min(1, tau / |D_n|) D_n

A head is scaled as a whole, so the direction of its change is kept. Sun et al. bound by a fixed length; that the median of the
lengths is a good one, without a knob to tune, is from Andrew et al. 2021 (arXiv 1905.03871), who track it over rounds; here
it is that of this merge. Choices of ours: of an even number of lengths the lower middle one, as in `around.guarded`, so
that half the heads may be bad; heads that stand still have no say in it. A head whose length is not finite (NaN too) is
left out, its share not renormalised, unless there is no other: then W shows it. (Such factors arrive only where no guard
stands in front, --bad-heads stop or skip.)

Laws: what is merged of a head is only a part of what V_n counts, another part at every merge, so its sum is no product of
rank r_n (L1, L2 fall); nor is the merge the mean of the heads (L13) or a step on the mean gradient (L3). From clip_at = 1
on a single head is not scaled (L10, L1-one); right after a merge all heads agree (L10-all). Where nothing is clipped it is
the mean. The norms come from factors, and the scaled factors are stacked: one product a layer (L5). Source: Sun et al. 2019.
"""

import math
from collections.abc import Sequence

import numpy as np

from minilte.core import tree
from minilte.core.head import overlay
from minilte.core.lte import mean, merged
from minilte.core.types import Rule, Sent, Weights
from minilte.rules.changes import moved
from minilte.settings.knob import knob
from minilte.settings.part import part


def clipped(clip_at: float = 1.0) -> Rule:
    """The rule; `clip_at` is the largest length of a head's change, in medians."""

    def merge(state, weights, sent, then, scales, w, each):
        def length(n):
            return math.hypot(moved(sent[n].factors, then and then[n], scales[n]), replicas_moved(sent[n], weights))

        lengths = list(each(length, range(len(sent))))
        kept = [n for n, size in enumerate(lengths) if math.isfinite(size)] or list(range(len(sent)))
        shares = [w[n] * fraction for n, fraction in zip(kept, fractions([lengths[n] for n in kept], clip_at))]
        pick = lambda values: values and [values[n] for n in kept]  # noqa: E731
        layers = merged(weights, pick(sent), pick(then), pick(scales), shares, each)
        # c + sum of shares (c_n - c): what is clipped off stays with the main weights' own
        copies = [*(sent[n].replicas for n in kept), weights]
        return overlay(layers, mean(copies, [*shares, 1 - sum(shares)])), state

    return Rule(lambda weights: None, merge)


def replicas_moved(sent: Sent, weights: Weights) -> float:
    """How far a head's replicas are from the main weights' own, as one length."""
    lengths = tree.map(lambda new, old: np.linalg.norm((new - old).astype(np.float64)), sent.replicas, weights)
    return math.hypot(*tree.leaves(lengths))


def fractions(lengths: Sequence[float], clip_at: float) -> list[float]:
    """min(1, tau / length) of each, tau = clip_at times the lower median of those above 0.

    >>> fractions([1.0, 4.0, 0.0, 2.0, 8.0], 1.0)
    [1.0, 0.5, 1.0, 1.0, 0.25]
    """
    far = sorted(length for length in lengths if length > 0)
    tau = clip_at * far[(len(far) - 1) // 2] if far else 0.0
    return [1.0 if length <= tau else tau / length for length in lengths]


@part("rule", "clipped", needs={"each"})
class Clipped:
    """The mean of changes that are scaled down to the median length (Sun et al. 2019)."""

    clip_at: float = knob(1.0, "largest length of a head's change, in medians of all", above=0.0)

    def build(self, config) -> Rule:
        return clipped(self.clip_at)
