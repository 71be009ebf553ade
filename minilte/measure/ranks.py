"""How many directions a matrix really has: rank, stable rank, effective rank (law L19).

>>> M = np.diag([2.0, 1.0, 1.0, 0.0])
>>> stable_rank(M), round(effective_rank(M), 3), numerical_rank(M)
(1.5, 2.828, 3)
"""

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array


def singular_values(matrix: Array) -> Array:
    """Singular values in float64, largest first. Raises BadInput for a zero matrix, whose ranks are undefined."""
    sigma = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    if not sigma[0] > 0:
        raise BadInput("rank measures: expected a matrix that is not zero; there is nothing to measure")
    return sigma


def numerical_rank(matrix: Array, tolerance: float = 1e-10) -> int:
    """How many singular values are above `tolerance` times the largest."""
    sigma = singular_values(matrix)
    return int((sigma > tolerance * sigma[0]).sum())


def stable_rank(matrix: Array) -> float:
    """|M|_F^2 / |M|_2^2, at least 1 and at most the effective rank."""
    return stable(singular_values(matrix))


def stable(sigma: Array) -> float:
    """The stable rank of a matrix with these singular values, largest first."""
    return float(((sigma / sigma[0]) ** 2).sum())


def effective_rank(matrix: Array) -> float:
    """exp(-sum p_i log p_i) with p_i = sigma_i / sum sigma (Roy & Vetterli 2007); at most the rank."""
    return effective(singular_values(matrix))


def effective(sigma: Array) -> float:
    """The effective rank of a matrix with these singular values."""
    p = sigma[sigma > 0] / sigma.sum()
    return float(np.exp(-(p * np.log(p)).sum()))
