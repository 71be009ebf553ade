"""The mean change, cut down to its k largest singular values.

    M = sum_n w_n s_n (B_n A_n - V_n) = U S V^T,   W <- W + U_k S_k V_k^T

The best change of rank k to put in the place of the mean (Eckart & Young 1936). M is a product of stacked factors,
of R columns and R rows: two QRs of these and an SVD of at most R x R, never one of m x n. All in float64, whatever
the dtype of W, for the small singular values of a float32 product are its rounding; the change is rounded once, when
it is added.

With k at least the rank of M it is the mean. Below, what is cut off stays out of W for good, for V_n counts it as
merged: W is no longer the sum of the V_n (L1 falls, so L3 and L9), nor the mean of the heads (L13), nor a single
head's weight (L10). A merge adds a rank of at most k, but a sum of merges that were cut at k has no bound (L2). Right
after a merge all heads agree (L10-all).
"""

import numpy as np

from minilte.core.lora import plus_products, stack
from minilte.core.types import Adapter, Rule
from minilte.rules.changes import layer_by_layer
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part


def svd(rank: int = 8) -> Rule:
    """The rule; `rank` is the largest rank of a layer's change at a merge."""

    return Rule(
        lambda weights: None,
        layer_by_layer(lambda W, moves, w, each: plus_products(W, [truncated(stack(moves, w), rank)], [1.0], each)),
    )


def truncated(pair: Adapter, rank: int) -> Adapter:
    """The nearest matrix to B A of this rank, in float64; what is not finite stays as it is.

    B A = Q (L P^T) K^T with B = Q L, A^T = K P.    ((R,n),(m,R))->((k,n),(m,k))
    """
    Q, left = np.linalg.qr(pair.B.astype(np.float64))  # (m, min(m, R)), (min(m, R), R)
    K, right = np.linalg.qr(pair.A.T.astype(np.float64))
    core = left @ right.T
    if not np.isfinite(core).all():  # an SVD would raise; the run is about to say that it diverged
        return pair
    U, size, Vt = np.linalg.svd(core, full_matrices=False)
    return Adapter(Vt[:rank] @ K.T, Q @ (U[:, :rank] * size[:rank]))


@part("rule", "svd", needs={"each"})
class SVD:
    """The mean change, cut down to a smaller rank."""

    svd_rank: int = knob(8, "largest rank of a layer's change at a merge", least=1, most=MOST)

    def build(self, config) -> Rule:
        return svd(self.svd_rank)
