"""How noisy a batch's gradient is: the simple noise scale of McCandlish et al. 2018 (arXiv 1812.06162, appendix A.1).

The mean gradient of b samples is the true gradient G plus noise of covariance Sigma / b. Batches well below
tr(Sigma) / |G|^2 samples are mostly noise; beyond it, more samples a step change the step little.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.types import Tree


def estimates(gradients: Iterable[Tree], sizes: Sequence[int]) -> tuple[float, float]:
    """Unbiased estimates of |G|^2 and tr(Sigma) from the mean gradients G_k of K independent batches of b_k samples.

    tr(Sigma) = sum_k b_k |G_k - mean|^2 / (K - 1) and |G|^2 = |mean|^2 - tr(Sigma) / b, with b = sum_k b_k and
    mean = sum_k b_k G_k / b. For equal sizes these are the paper's estimates, with the G_k of small batches and the
    mean of the big batch; in this form they keep their digits where the noise is small. The gradients are added in
    turn, in float64 and O(M) memory, with West's update. Raises BadInput for K < 2 or an empty batch.
    """
    if len(sizes) < 2 or not min(sizes) >= 1:
        raise BadInput(f"noise scale: expected at least two batches, of one sample or more each, got {list(sizes)}")
    mean, spread, samples = 0.0, 0.0, 0
    for gradient, size in zip(gradients, sizes, strict=True):
        flat = np.concatenate([np.ravel(leaf) for leaf in tree.leaves(gradient)], dtype=np.float64)
        samples += size
        before = flat - mean
        mean = mean + size / samples * before
        spread += size * float(before @ (flat - mean))
    trace = spread / (len(sizes) - 1)
    return float(mean @ mean) - trace / samples, trace


def noise_scale(gradients: Iterable[Tree], sizes: Sequence[int]) -> float:
    """tr(Sigma) / |G|^2, in samples. It doesn't depend on the unit of the loss.

    A ratio of unbiased estimates is itself biased when both are noisy: average `estimates` over steps before dividing
    where one step is not enough. Raises BadInput for K < 2, and where the estimate of |G|^2 is not positive: the
    gradient is then lost in the noise of these batches, and no ratio means anything.
    """
    square, trace = estimates(gradients, sizes)
    if not 0 < square < np.inf:
        raise BadInput(f"noise scale: expected an estimate of |G|^2 above 0, got {square:.3g}; take larger batches")
    return trace / square
