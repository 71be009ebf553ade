"""The trimmed mean over heads, entry by entry: the k largest and the k smallest changes are left out.

    D_n = s_n (B_n A_n - V_n),   k = floor(trim N),   W <- W + sum_n w_n D_n / sum_n w_n over the other N - 2 k, entry by entry

Replicas too are trimmed, or a single bad head would spoil them. Yin et al. have no shares; here those of the heads that are
left are made to sum to 1. A head with a share of 0 has no say, and N does not count it. Of equal values head order decides
which is left out. In every entry the result lies among the values of the sound heads while no more than k are bad, whatever
those send: NaN counts as the largest value. (Factors that are not finite arrive only where no guard stands in front:
--bad-heads stop ends the run, skip has such a head count as a change of zero.) Where k = 0, as for three heads at
the default, nothing is left out: it is the mean, up to rounding. With equal shares and k = floor((N - 1) / 2) it is the median.

Laws, where k > 0: the merged change has no low rank (L2 falls) and is no sum of the V_n (L1), nor is the merge the mean of
the heads (L13) or a step on the mean gradient (L3). A single head's function is kept (L10), and right after a merge all
heads agree (L10-all). Source: Yin et al. 2018, definition 2.
"""

import math
from collections.abc import Sequence

import numpy as np

from minilte.core.types import Array, Rule
from minilte.rules.changes import entry_by_entry
from minilte.settings.knob import knob
from minilte.settings.part import part


def trimmed(trim: float = 0.25) -> Rule:
    """The rule; `trim` is the part of the heads that is left out at either end."""
    return Rule(lambda weights: None, entry_by_entry(lambda values, w: inner_mean(values, w, trim)))


def inner_mean(values: Array, w: Sequence[float], trim: float) -> Array:
    """The mean over the first axis, with shares w, without the k largest and smallest. NaN is the largest.    (N,…),(N)->(…)

    >>> inner_mean(np.array([[9.0, 1.0], [1.0, 2.0], [2.0, np.nan], [4.0, 4.0]]), [0.1, 0.2, 0.2, 0.6], 0.25)
    array([3.5, 3.5])
    """
    w = np.asarray(w, values.dtype)
    values, w = values[w > 0], w[w > 0]
    k = math.floor(trim * len(w) + 1e-9)  # 0.29 of 100 is 29, in floating point too
    kept = np.argsort(values, axis=0, kind="stable")[k : len(w) - k]  # of every entry the heads, smallest first
    whole = sum(w[heads] for heads in kept)
    return sum(w[heads] / whole * np.take_along_axis(values, heads[None], axis=0)[0] for heads in kept)


@part("rule", "trimmed", needs={"each"})
class Trimmed:
    """The mean without the largest and smallest, entry by entry (Yin et al. 2018)."""

    trim: float = knob(0.25, "part of the heads that is left out at either end", least=0.0, below=0.5)

    def build(self, config) -> Rule:
        return trimmed(self.trim)
