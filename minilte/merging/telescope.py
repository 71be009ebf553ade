"""The mean by telescoping: W = W_0 + sum_n w_n s_n B_n A_n, half the product of the merge that takes V_n out.

By law L1 it is the same weight while nothing is reset and every head takes part. It keeps W_0 where the other form
needs every head's V_n, and rounding does not add up from merge to merge.
"""

from minilte.core.merge import merged
from minilte.core.types import Rule


def merge(start, weights, sent, then, scales, w, each):
    """(W_0, W) -> W_0 + sum_n w_n s_n B_n A_n. Raises ValueError after a reset, where W_0 is not the place to start."""
    if then is None:
        raise ValueError("telescoping: expected a reset-less method; after a reset use the mean")
    return merged(start, sent, None, scales, w, each), start


TELESCOPE = Rule(lambda weights: weights, merge)
