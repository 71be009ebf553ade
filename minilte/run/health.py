"""The health of a run's numbers: losses that are not finite, run away or stall, and updates that leap."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.core.errors import Diverged

RUNAWAY, PATIENT = 10.0, 3  # a loss of so many times the first, at so many merges in a row, ends the run
LEAP = 10.0  # times the largest update before; the loss may not show it yet
STALLED = 5  # evaluations, over a quarter of the run, without a better training loss


class Health(NamedTuple):
    """The losses so far, as far as `refuse_runaway` and `refuse_worse` need them."""

    first: float | None = None  # the mean loss of the heads at the first merge
    runaway: int = 0  # merges in a row with a runaway loss
    start: float | None = None  # the training loss of the main weights at step 0; process 0 alone knows it


def diverged(words: str, agreed: bool) -> Diverged:
    """The error with its remedy; `agreed` where every process raises it."""
    trouble = Diverged(f"{words}; lower --lr or --alpha, or set --clip")
    trouble.agreed = agreed
    return trouble


def refuse_runaway(health: Health, step: int, losses: Sequence[float], silent: float) -> Health:
    """The health after a merge. Raises Diverged, on all processes, for a finite loss that has run away.

    `silent` is the loss of a network whose output is zero. A run that starts at a solution may well rise to many times
    its first loss, which is nearly nothing, so losses are compared with `silent` where that is more.
    """
    mean = sum(losses) / max(1, len(losses))
    refuse_infinite(step, {"mean of the heads": mean}, agreed=True)  # a sum of finite losses may overflow
    first = mean if health.first is None else health.first
    runaway = health.runaway + 1 if mean > RUNAWAY * max(first, silent) else 0
    if runaway == PATIENT:
        raise diverged(f"the loss is {mean:.3g} at step {step}, after {first:.3g} at the first merge", agreed=True)
    return health._replace(first=first, runaway=runaway)


def refuse_worse(health: Health, step: int, loss: float | None, silent: float) -> None:
    """Raises Diverged for a run that ends with a training loss that has run away, after however few merges.

    Both losses are those of the main weights, on process 0; None elsewhere, and where the run began before they were kept.
    """
    if None not in (health.start, loss) and loss > RUNAWAY * max(health.start, silent):
        words = f"the training loss is {loss:.3g} at the end, step {step}, after {health.start:.3g} at the start"
        raise diverged(words, agreed=False)


def refuse_infinite(step: int, numbers: dict[str, float], agreed: bool, what: str = "loss") -> None:
    """Raises Diverged for a loss, or `what` it is, that is not finite, with the name of its owner."""
    for whose, number in numbers.items():
        if not math.isfinite(number):
            raise diverged(f"{whose}: the {what} is {number} at step {step}", agreed)


def distrusted(trust: Sequence[float] | None) -> dict[str, float]:
    """The trust in each head that did not count in full at the last merge."""
    return {} if trust is None else {str(n): float(trust[n]) for n in np.flatnonzero(np.less(trust, 1))}


def stalled(losses: Sequence[tuple[int, float]], steps: int) -> int | None:
    """The step of the least of these (step, training loss), where a quarter of the run and `STALLED` evaluations have
    passed since; else None."""
    if not losses:
        return None
    best = min(range(len(losses)), key=lambda at: losses[at][1])
    long_ago = losses[-1][0] - losses[best][0] >= steps / 4
    return losses[best][0] if long_ago and len(losses) - 1 - best >= STALLED else None


def leapt(norms: Sequence[float], norm: float) -> bool:
    """Is the norm of an update beyond all that came before?"""
    return len(norms) >= 2 and norm > LEAP * max(norms) > 0
