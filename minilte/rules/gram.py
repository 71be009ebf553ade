"""Gram merge: the smallest change of W that does to every head's directions what the head itself did to them.

    D_n = s_n B_n A_n,   S = [A_1; …; A_N],   W <- W + [D_1 A_1^T … D_N A_N^T] (S S^T + lambda I)^+ S

With lambda = 0 it is the D of least norm among those of least sum_n w_n |D A_n^T - D_n A_n^T|^2. Where the rows of
all A_n are independent, every D A_n^T = D_n A_n^T. Heads with orthogonal row spaces are summed, heads with the same A
averaged. Unequal shares w_n weigh the squares: A_n becomes sqrt(N w_n) A_n on both sides, which is the formula above
at w_n = 1/N. The idea of Gram matrices in a merge is that of RegMean (Jin et al. 2022), which takes those of the
inputs.

A sum goes up to N times as far as the mean, and where rows of the A_n are nearly dependent, as for sum_n r_n near n,
D is large along their small differences: lambda damps both. It needs resets of B: V_n has other rows than A_n, and
D_n would not be s_n B_n A_n. S S^T is R x R, formed in float64; its pseudo-inverse leaves out directions of S below
1e-6 of the largest, which float32 factors do not know.

Laws (with resets): a merge is not the mean of the heads (L4, L13 fall). A single head is kept (L10), equal heads are
one head (L15), heads with one A frozen are exact (L16), and with A frozen the rank stays bounded (L2).
"""

from collections.abc import Sequence

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.lora import plus_products, stack
from minilte.core.types import Adapter, Rule
from minilte.rules.changes import layer_by_layer
from minilte.settings.knob import knob
from minilte.settings.part import part

MISSING = 1e-6  # of the largest singular value of S


def gram(damping: float = 0.0) -> Rule:
    """The rule; `damping` is lambda. Its merge raises BadInput without resets."""

    step = layer_by_layer(lambda W, moves, w, each: plus_products(W, [fitted(moves, w, damping)], [1.0], each))

    def merge(state, weights, sent, then, *rest):
        if then is not None:
            raise BadInput("gram: expected a method that resets B; without resets, use the mean")
        return step(state, weights, sent, then, *rest)

    return Rule(lambda weights: None, merge)


def fitted(moves: Sequence[Adapter], w: Sequence[float], damping: float) -> Adapter:
    """The merged change, in float64, as k orthogonal rows and their coefficients.    ((r_n,n),(m,r_n))->((k,n),(m,k))"""
    roots = [np.sqrt(len(w) * w_n) for w_n in w]
    top = float(max(np.abs(A).max() for A, _ in moves)) or 1.0  # so that no square leaves float64
    rows = [root * (A.astype(np.float64) / top) for root, (A, _) in zip(roots, moves, strict=True)]
    goals = [B @ (A @ row.T) for row, (A, B) in zip(rows, moves)]  # sqrt(N w_n) D_n A_n^T, (m, r_n)
    S = np.concatenate(rows)
    if not np.isfinite(S).all():  # eigh would raise; the run is about to say that it diverged
        return stack(moves, w)
    size, U = np.linalg.eigh(S @ S.T)  # ascending
    size += damping / top / top
    known = size > size[-1] * MISSING**2
    U = U[:, known] / np.sqrt(size[known])  # (R, k)
    return Adapter(U.T @ S, np.concatenate(goals, axis=1) @ U)


@part("rule", "gram", needs={"each", "reset"})
class Gram:
    """Every head's change along its own rows of A, all at once."""

    gram_damping: float = knob(0.0, "lambda, added to S S^T", least=0.0)

    def build(self, config) -> Rule:
        return gram(self.gram_damping)
