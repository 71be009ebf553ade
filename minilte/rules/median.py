"""The median over heads, entry by entry, of how far each of them moved: what less than half of them say cannot move it far.

    D_n = s_n (B_n A_n - V_n),   W <- W + median(D_1 … D_N), for an even N the mean of the two middle ones

Replicas too take the median, or a single bad head would spoil them. There are no shares. In every entry the median lies
among the values of the sound heads while more than half of them are sound, whatever the others send: NaN counts as the
largest value. (Factors that are not finite arrive only where no guard stands in front: --bad-heads stop ends the run, skip
has such a head count as a change of zero.) For one head and for two it is the mean.

Laws: the merged change has no low rank (L2 falls) and is no sum of the V_n (L1, but for one head: L1-one), nor is the merge
the mean of the heads (L13) or a step on the mean gradient (L3). A single head's function is kept (L10), and right after a
merge all heads agree (L10-all). Source: Yin et al. 2018, definition 1.
"""

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array, Rule
from minilte.rules.changes import entry_by_entry
from minilte.settings.part import part, words_of


def middle(values: Array) -> Array:
    """The median over the first axis; for an even N the mean of the two middle ones. NaN is the largest.    (N,…)->(…)

    >>> middle(np.array([[3.0, 1.0], [1.0, np.nan], [2.0, 5.0]]))
    array([2., 5.])
    """
    low, high = (len(values) - 1) // 2, len(values) // 2
    ordered = np.partition(values, (low, high), axis=0)
    return (ordered[low] + ordered[high]) / 2


MEDIAN = Rule(lambda weights: None, entry_by_entry(lambda values, w: middle(values)))


@part("rule", "median", needs={"each"})
class Median:
    """The median over heads, entry by entry (Yin et al. 2018)."""

    def check_with(self, config):
        shares = config.flat().get("shares", ())
        if len(set(shares)) > 1:
            raise BadInput(f"shares: {words_of(self)} has no weights, so they must be equal, got {shares}")

    def build(self, config) -> Rule:
        return MEDIAN
