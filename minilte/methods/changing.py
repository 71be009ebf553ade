"""Rules for what changes at a merge: how many directions the last change had, and which heads come next."""

import math
from collections.abc import Callable

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.disk.files import brief
from minilte.measure.ranks import effective
from minilte.settings.knob import flag_name

HEADS = {  # (heads N, few, part of the run that is done, random generator) -> who takes part, (N,)
    "all": lambda N, few, done, rng: np.ones(N, bool),
    "drawn": lambda N, few, done, rng: np.isin(np.arange(N), rng.permutation(N)[:few]),
    "growing": lambda N, few, done, rng: np.arange(N) < between(few, N, done),
    "shrinking": lambda N, few, done, rng: np.arange(N) < between(N, few, done),
}


USES = {  # setting -> the choice, and those of its words that have a use for it
    "rank_to": ("rank_rule", ("schedule",)),
    "rank_spare": ("rank_rule", ("effective", "energy")),
    "rank_energy": ("rank_rule", ("energy",)),
    "taking_part": ("heads_rule", ("drawn", "growing", "shrinking")),
}


def refuse_unused(chosen) -> None:
    """Raises BadInput for a setting that is not as usual and that the choices of the part have no use for."""
    for name, (choice, words) in USES.items():
        if (
            getattr(chosen, name) != type(chosen).__dataclass_fields__[name].default
            and getattr(chosen, choice) not in words
        ):
            flag = flag_name(choice)
            raise BadInput(f"{flag_name(name)}: belongs to --{flag} {', '.join(words)}; leave it out, or choose that")


def between(first: float, last: float, done: float) -> int:
    """The whole number at this part of the way from `first` to `last`."""
    return round(first + (last - first) * done)


def directions(change: Array, energy: float | None) -> int:
    """How many directions a change has: its effective rank, or as many as hold so much of its squared norm.

    0 of a change that is zero, or not finite: then the run is about to say that it diverged.
    """
    if not np.isfinite(change).all():
        return 0
    sigma = np.linalg.svd(change.astype(np.float64), compute_uv=False)
    if not sigma[0] > 0:
        return 0
    if energy is None:
        return math.ceil(effective(sigma))
    held = np.cumsum(sigma**2)
    return min(len(sigma), 1 + int(np.searchsorted(held, energy * held[-1])))


def as_rank(k: int, r: int) -> Array:
    """A number of rows as an array, for a state holds arrays alone. Raises BadInput outside 1 … r."""
    if not 1 <= k <= r:
        raise BadInput(
            f"rank: expected 1 to {r} rows that live, the rank of the adapters, got {k}; set a larger --rank"
        )
    return np.array(k, np.int64)


def chosen(active: Callable[[int], Array], heads: int, step: int) -> Array:
    """The heads that take part in the round after a step.    ->(N,)    Raises BadInput where nobody does."""
    here = np.array(active(step), bool)
    if here.shape != (heads,) or not here.any():
        raise BadInput(
            f"active: expected at least one of {heads} heads after step {step}, got {brief(here.tolist())}"
        )
    return here
