"""The mean by telescoping: W = W_0 + sum_n w_n s_n B_n A_n, half the product of the merge that takes V_n out.

By law L1 it is the same weight while nothing is reset, every head takes part, and the main weights move by this rule
alone (so not inside an outer optimizer). It costs a second W, and rounding does not add up from merge to merge.
"""

from minilte.core.errors import BadInput
from minilte.core.lte import merged
from minilte.core.types import Rule
from minilte.settings.part import part


def merge(start, weights, sent, then, scales, w, each):
    """(W_0, W) -> W_0 + sum_n w_n s_n B_n A_n. Raises BadInput with resets: W_0 is not the place to start from then."""
    if then is None:
        raise BadInput("telescoping: expected a method without resets; with resets, use the mean")
    return merged(start, sent, None, scales, w, each), start


TELESCOPE = Rule(lambda weights: weights, merge, bounded=True, telescopes=True)


@part("rule", "telescope", needs={"no reset", "all heads", "float W", "each"})
class Telescope:
    """The same mean from W_0, half the work, without resets."""

    def build(self, config) -> Rule:
        return TELESCOPE
