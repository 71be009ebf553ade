"""samples-to-match: S'/S, where S' is the smallest horizon at which a method reaches what its opponent reaches in S samples.

Every horizon is a run of its own with its whole schedule. Horizons are S 2^(k/2), outwards from S: the longer ones while
some seed falls short, the shorter ones while some seed reaches. At the middle of a side the method is tuned again, and
the horizons of that side use what came of it. Between the last horizon that falls short and the first that reaches, the
logarithm of the horizon is interpolated, linear in the logarithm of a loss, or in an accuracy: a loss that falls as a
power of the samples is matched exactly.
"""

import math
import statistics
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

from minilte.measure.interval import interval

SIDES = {"longer": (0.5, 1.0, 1.5, 2.0), "shorter": (-0.5, -1.0, -1.5, -2.0)}  # powers of 2 to multiply S with
TINY = 1e-300  # for a loss of zero, which has no logarithm
MIDDLE = 1  # of the four, where it is tuned again
FIELDS = ("train_loss", "test_accuracy", "test_loss")  # of a regression there is no accuracy


class Match(NamedTuple):
    """S'/S of an entry, by one score."""

    name: str
    opponent: str
    score: str
    ratios: tuple[float, ...]  # of every seed; those out of reach are the bound
    short: int  # seeds at which no horizon reached: S'/S is more than their ratio
    early: int  # seeds at which the shortest horizon reached: it is at most their ratio
    mean: float  # geometric
    low: float  # the interval of the mean
    high: float


Trained = Callable[
    [float, dict], tuple[float, list]
]  # (horizon / S, settings) -> it in whole steps, runs of all seeds
Retuned = Callable[[float], Generator]  # horizon / S -> a plan that tunes there


def matched(
    targets: dict[str, Sequence[float]], at_once: list, trained: Trained, retuned: Retuned
) -> Generator[list, list, dict[str, dict[float, list[float]]]]:
    """A plan for score -> {horizon / S: the score at every seed}.

    `targets` are the opponent's scores, `at_once` the entry's outcomes at S; of every score less is better.
    """
    known = {1.0: at_once}
    for side, powers in SIDES.items():
        settings = None
        for power in powers:
            if not any(open_ends(target, scores_at(known, name), side) for name, target in targets.items()):
                break
            if settings is None:
                settings = yield from retuned(2.0 ** powers[MIDDLE])
            horizon, runs = trained(2.0**power, settings)
            if horizon not in known:  # of few steps, two horizons may be one
                known[horizon] = yield runs
    return {name: scores_at(known, name) for name in targets}


def scores_at(known: dict[float, list], name: str) -> dict[float, list[float]]:
    """horizon -> the score at every seed, in the order of the horizons."""
    return {horizon: [outcome.score(name) for outcome in known[horizon]] for horizon in sorted(known)}


def open_ends(target: Sequence[float], scores: dict[float, list[float]], side: str) -> bool:
    """Does some seed need a horizon beyond those that are known on this side?"""
    seeds = list(zip(*scores.values()))
    if side == "longer":
        return any(min(values) > goal for values, goal in zip(seeds, target))
    return any(values[0] <= goal for values, goal in zip(seeds, target))


def crossing(scores: Sequence[float], horizons: Sequence[float], goal: float) -> tuple[float, int]:
    """(S'/S at a seed, 1 where no horizon reaches, -1 where the shortest does, else 0)."""
    reached = [score <= goal for score in scores]
    if not any(reached):
        return horizons[-1], 1
    if (first := reached.index(True)) == 0:
        return horizons[0], -1
    level = float if goal < 0 else lambda loss: math.log(max(loss, TINY))  # accuracies stand with their sign turned
    before, after, goal = map(level, (scores[first - 1], scores[first], goal))
    if math.isinf(before):  # it diverged there
        return horizons[first], 0
    part = (before - goal) / (before - after)
    return math.exp(math.log(horizons[first - 1]) * (1 - part) + math.log(horizons[first]) * part), 0


def match(name: str, opponent: str, score: str, scores: dict[float, list[float]], target: Sequence[float]) -> Match:
    """The match of an entry whose horizons are done."""
    found = [crossing(values, list(scores), goal) for values, goal in zip(zip(*scores.values()), target)]
    ratios = [ratio for ratio, _ in found]
    logs = [math.log(ratio) for ratio in ratios]
    ends = [math.exp(value) for value in (statistics.fmean(logs), *interval(logs))]
    short, early = (sum(side == which for _, side in found) for which in (1, -1))
    return Match(name, opponent, score, tuple(ratios), short, early, *ends)
