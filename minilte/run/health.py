"""The health of a run's numbers: what is finite, what has run away, what no longer improves."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.core.errors import Diverged

RUNAWAY, PATIENT = 10.0, 3  # a loss of so many times the first, at so many merges in a row, is no training any more
LEAP = 10.0  # times the largest update before: a finite loss may not show it yet
STALLED = 5  # evaluations, over a quarter of the run, without a better training loss


class Health(NamedTuple):
    """What is remembered of the losses."""

    first: float | None = None  # the mean loss of the heads at the first merge
    runaway: int = 0  # merges in a row with a loss beyond all measure


def diverged(words: str, agreed: bool) -> Diverged:
    """The error with what can be done about it; `agreed` where every process raises it."""
    trouble = Diverged(f"{words}; lower --lr or --alpha, or set --clip")
    trouble.agreed = agreed
    return trouble


def checked(health: Health, step: int, losses: Sequence[float], silent: float) -> Health:
    """The health after a merge. Raises Diverged, on all processes, for a loss that is finite and has run away.

    `silent` is the loss of a network whose output is zero: a run that starts below it, at a solution, may well go up
    to many times a loss of nearly nothing.
    """
    mean = sum(losses) / max(1, len(losses))
    first = mean if health.first is None else health.first
    runaway = health.runaway + 1 if mean > RUNAWAY * max(first, silent) else 0
    if runaway == PATIENT:
        raise diverged(f"the loss is {mean:.3g} at step {step}, after {first:.3g} at the first merge", agreed=True)
    return Health(first, runaway)


def refuse_infinite(step: int, losses: dict[str, float], agreed: bool) -> None:
    """Raises Diverged at a loss that is not finite, naming whose it is."""
    for whose, loss in losses.items():
        if not math.isfinite(loss):
            raise diverged(f"{whose}: the loss is {loss} at step {step}", agreed)


def distrusted(trust: Sequence[float] | None) -> dict[str, float]:
    """The heads that did not count in full at the last merge, and how much they did."""
    return {} if trust is None else {str(n): float(trust[n]) for n in np.flatnonzero(np.less(trust, 1))}


def stalled(losses: Sequence[tuple[int, float]], steps: int) -> int | None:
    """The step of the best of these (step, training loss), where a run of so many steps has not improved on it for
    long; None where it goes on well."""
    if not losses:
        return None
    best = min(range(len(losses)), key=lambda at: losses[at][1])
    long_ago = losses[-1][0] - losses[best][0] >= steps / 4
    return losses[best][0] if long_ago and len(losses) - 1 - best >= STALLED else None


def leapt(norms: Sequence[float], norm: float) -> bool:
    """Is the norm of an update beyond all that came before?"""
    return len(norms) >= 2 and norm > LEAP * max(norms) > 0
