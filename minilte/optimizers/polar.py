"""The polar factor of a matrix, polar(X) = U V^T of X = U S V^T: every direction that X has, each with the length 1.

    exact     X (X^T X)^(-1/2) through the Gram matrix of the smaller side; a direction that X lacks stays away
    quintic   five steps X <- a X + (b G + c G^2) X, G = X X^T, from X / |X|_F (Newton-Schulz; Jordan et al. 2024)

The quintic has the same U and V, and `response` of a singular value where the exact factor has 1: between 0.68 and
1.21 for directions of at least 0.2 % of |X|_F, and below for those that are nearly missing. Both map 0 to 0, and neither
asks how large X is, nor how it lies in memory: a product's bits may depend on that. Where X has a number that is not
finite, all of polar(X) is NaN.
"""

import numpy as np

from minilte.core.types import Array

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # a, b, c of the quintic
STEPS = 5
POLISH = 4  # each cubic step doubles the digits
MISSING = 1e-7  # of the largest singular value: below, a float64 Gram matrix does not know a direction


def exact(X: Array) -> Array:
    """X (X^T X)^(-1/2), with the pseudo-inverse where X has not full rank.    (m,n)->(m,n)

    The Gram matrix is formed in float64, whatever the dtype of X. It squares the condition number k: the singular
    vectors are known to eps k^2 of float64. Cubic steps P <- (3 P - P P^T P) / 2 give the columns back the length 1. A
    direction is missing below `MISSING`, or 8 eps of the dtype of X, of the largest singular value: there, X is rounding.
    """
    if X.shape[0] < X.shape[1]:
        return exact(X.T).T
    if not np.isfinite(X).all():  # else eigh would raise, and a run that diverges end without a word of it
        return np.full_like(X, np.nan)
    wide = X.astype(np.float64, order="C") / (np.abs(X).max() or 1.0)
    size, V = np.linalg.eigh(wide.T @ wide)  # squares of the singular values, ascending
    known = size > size[-1] * max(MISSING, 8 * np.finfo(X.dtype).eps) ** 2
    V, P = V[:, known], wide @ (V[:, known] / np.sqrt(size[known]))  # (n, k), (m, k)
    for _ in range(POLISH):
        P = 1.5 * P - 0.5 * P @ (P.T @ P)
    return (P @ V.T).astype(X.dtype)


def quintic(X: Array) -> Array:
    """Five quintic Newton-Schulz steps in the dtype of X.    (m,n)->(m,n)

    A step is P X with P = a I + b G + c G^2 of the smaller side alone, and the next one's G is P G P: some steps are taken
    on G, and X is multiplied once. Not all five: G squares the singular values, and rounding would hide the small
    ones. After two steps they are 12 times as large, and G is formed anew. A square X is cheaper step by step.
    """
    if X.shape[0] > X.shape[1]:
        return quintic(X.T).T
    X = np.ascontiguousarray(X) / (np.abs(X).max() or X.dtype.type(1))  # so that no square leaves the dtype
    X /= np.sqrt(np.sum(X * X)) or X.dtype.type(1)
    for steps in (2, 3) if 2 * X.shape[1] > 3 * X.shape[0] else STEPS * (1,):
        X = product(X @ X.T, steps) @ X
    return X


def product(G: Array, steps: int) -> Array:
    """The polynomial in G by which so many quintic steps multiply X, where G = X X^T.    (m,m)->(m,m)"""
    a, b, c = COEFFICIENTS
    P = a * np.eye(len(G), dtype=G.dtype) + b * G + c * (G @ G)
    return P if steps == 1 else product(P @ G @ P, steps - 1) @ P


def response(s: Array) -> Array:
    """What the quintic makes of singular values s of X / |X|_F."""
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        s = a * s + b * s**3 + c * s**5
    return s


POLAR = {"quintic": quintic, "exact": exact}
