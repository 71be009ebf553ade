"""Rules for what changes at a merge: how many directions the last change had, and which heads come next."""

import math

import numpy as np

from minilte.core.types import Array
from minilte.measure.ranks import effective

HEADS = {  # (heads N, few, part of the run that is done, random generator) -> who takes part, (N,)
    "all": lambda N, few, done, rng: np.ones(N, bool),
    "drawn": lambda N, few, done, rng: np.isin(np.arange(N), rng.permutation(N)[:few]),
    "growing": lambda N, few, done, rng: np.arange(N) < between(few, N, done),
    "shrinking": lambda N, few, done, rng: np.arange(N) < between(N, few, done),
}


def between(first: float, last: float, done: float) -> int:
    """The whole number at this part of the way from `first` to `last`."""
    return round(first + (last - first) * done)


def directions(change: Array, energy: float | None) -> int:
    """How many directions a change has: its effective rank, or as many as hold so much of its squared norm; 0 of none."""
    sigma = np.linalg.svd(change.astype(np.float64), compute_uv=False)
    if not sigma[0] > 0:
        return 0
    if energy is None:
        return math.ceil(effective(sigma))
    held = np.cumsum(sigma**2)
    return min(len(sigma), 1 + int(np.searchsorted(held, energy * held[-1])))
