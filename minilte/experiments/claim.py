"""Claims, and how measured numbers become a verdict on them.

A claim makes predictions before anything is measured: each names a number and the range in which it lies. The measure
takes a seed to these numbers. Where two methods are compared, both run at that seed, so on the same samples in the same
order, and the number is their difference or ratio: the interval is that of a paired test.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from minilte.core.errors import BadInput
from minilte.measure.interval import interval

Measure = Callable[[int], dict[str, float]]  # seed -> the number of each prediction, by key


class Prediction(NamedTuple):
    """The number lies in [least, most]."""

    key: str  # "a", "b", …
    says: str  # what is measured
    source: str  # whose prediction: "paper", a law as "L6", "formula", or "ours" for a question the paper leaves open
    least: float = -math.inf
    most: float = math.inf


class Claim(NamedTuple):
    """A claim of the paper."""

    name: str  # as in "C1"
    where: str  # in the paper
    says: str
    predictions: tuple[Prediction, ...]
    measure: Measure


class Row(NamedTuple):
    """A prediction beside its measurement."""

    name: str  # "C1a"
    where: str
    says: str
    source: str
    least: float
    most: float
    values: tuple[float, ...]  # a number a seed
    mean: float
    low: float  # the interval of the mean
    high: float
    verdict: str


REGISTERED: dict[str, Claim] = {}


def claim(name: str, where: str, says: str, *predictions: Prediction) -> Callable[[Measure], Measure]:
    """Register a function seed -> {key: number} as the measure of a claim."""

    def register(measure):
        REGISTERED[name] = Claim(name, where, says, predictions, measure)
        return measure

    return register


def in_order() -> dict[str, Claim]:
    """All claims by name, in the order of their numbers."""
    return {name: REGISTERED[name] for name in sorted(REGISTERED, key=lambda name: int(name[1:]))}


def rows(tested: Claim, seeds: Sequence[int]) -> list[Row]:
    """Measure a claim at every seed; a row for each prediction. Raises BadInput for fewer than two seeds."""
    if len(seeds) < 2:
        raise BadInput(f"seeds: expected at least 2, or there is no interval, got {len(seeds)}")
    measured = [tested.measure(seed) for seed in seeds]
    return [judged(tested, said, [numbers[said.key] for numbers in measured]) for said in tested.predictions]


def judged(tested: Claim, said: Prediction, values: Sequence[float]) -> Row:
    """The row of a prediction whose numbers are known."""
    key, *of_row = said  # says, source, least, most
    low, high = interval(values)
    mean, outcome = statistics.fmean(values), verdict(low, high, said.least, said.most)
    return Row(tested.name + key, tested.where, *of_row, tuple(values), mean, low, high, outcome)


def verdict(low: float, high: float, least: float, most: float) -> str:
    """Whether the interval is inside the prediction ("holds"), apart from it ("fails"), or neither ("undecided")."""
    if least <= low and high <= most:
        return "holds"
    return "fails" if high < least or most < low else "undecided"
