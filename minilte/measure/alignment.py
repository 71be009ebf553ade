"""How alike heads are, from their factors alone: no m x n matrix is formed.

Alignment is undefined for a head whose B A is zero: BadInput.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Adapter, Array, Tree


def cosine(pair: Adapter, other: Adapter) -> float:
    """tr((B_i^T B_j)(A_j A_i^T)) / (|B_i A_i|_F |B_j A_j|_F), in O(r^2 (m + n)).    ((r,n),(m,r)),((k,n),(m,k))->()

    Raises BadInput where a product is zero.
    """
    size = np.sqrt(inner(pair, pair)) * np.sqrt(inner(other, other))
    if not size > 0:
        raise BadInput(
            "cosine: expected B A other than zero for both heads; before the first step there is no direction"
        )
    return float(inner(pair, other) / size)


def inner(pair: Adapter, other: Adapter) -> float:
    """The Frobenius product <B_i A_i, B_j A_j> = sum of (B_i^T B_j) * (A_i A_j^T)."""
    (A, B), (C, D) = (tuple(np.asarray(factor, np.float64) for factor in factors) for factors in (pair, other))
    return float(np.sum((B.T @ D) * (A @ C.T)))


def column_space(pair: Adapter) -> Array:
    """The left singular vectors of B A, from QR of B and an SVD of r x n.    ((r,n),(m,r))->(m,r)

    Raises BadInput where B A has not the full rank r: there are no r directions then.
    """
    q, upper = np.linalg.qr(np.asarray(pair.B, np.float64))
    u, sigma, _ = np.linalg.svd(upper @ pair.A, full_matrices=False)
    if not sigma[-1] > 1e-12 * sigma[0]:
        raise BadInput("grassmann: expected B A of full rank; before the first step there is no subspace")
    return q @ u


def grassmann(pair: Adapter, other: Adapter) -> float:
    """sqrt(sum theta^2) over the principal angles between the column spaces of B_i A_i and B_j A_j.

    theta = arccos(clip(singular values of U_i^T U_j)), k = min(r_i, r_j) of them; at most sqrt(min(r, m - r)) pi/2.
    Identical subspaces give about 4e-8, not 0: an arc cosine near 1 keeps half the digits. Raises BadInput where a
    space is undefined.
    """
    return angles(column_space(pair), column_space(other))


def angles(U: Array, V: Array) -> float:
    """The norm of the principal angles between the spans of two orthonormal bases.    (m,r),(m,k)->()"""
    return float(np.linalg.norm(np.arccos(np.clip(np.linalg.svd(U.T @ V, compute_uv=False), -1, 1))))


def over_pairs(measure: Callable[[Tree, Tree], float], heads: Sequence[Tree]) -> float:
    """The mean of a measure over the N (N-1) ordered pairs of heads. Raises BadInput for fewer than two."""
    if len(heads) < 2:
        raise BadInput(f"alignment: expected at least two heads, got {len(heads)}")
    return float(np.mean([measure(pair, other) for pair, other in itertools.permutations(heads, 2)]))
