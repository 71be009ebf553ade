"""What a claim is, and how numbers become a verdict on it.

A claim has parts. Each predicts where one measured number lies, and says so before anything is measured. The measure
takes a seed to a number for each part. Where two methods are compared, both run at that seed, so on the same samples in
the same order, and the number is their difference or ratio: the interval over seeds is one of paired differences.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from minilte.core.errors import BadInput

Measure = Callable[[int], dict[str, float]]  # seed -> a number for each part, by key
LEVEL = 0.95


class Part(NamedTuple):
    """One prediction: the number lies in [least, most]."""

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
    parts: tuple[Part, ...]
    measure: Measure


class Row(NamedTuple):
    """What came of one part."""

    name: str  # "C1a"
    where: str
    says: str
    source: str
    least: float
    most: float
    values: tuple[float, ...]  # one a seed
    mean: float
    low: float  # the interval of the mean
    high: float
    verdict: str


REGISTERED: dict[str, Claim] = {}


def claim(name: str, where: str, says: str, *parts: Part) -> Callable[[Measure], Measure]:
    """Register a function seed -> {key: number} as the measure of a claim."""

    def register(measure):
        REGISTERED[name] = Claim(name, where, says, parts, measure)
        return measure

    return register


def in_order() -> dict[str, Claim]:
    """All claims by name, in the order of their numbers."""
    return {name: REGISTERED[name] for name in sorted(REGISTERED, key=lambda name: int(name[1:]))}


def rows(one: Claim, seeds: Sequence[int]) -> list[Row]:
    """Measure a claim at every seed; one row a part. Raises BadInput for fewer than two seeds."""
    if len(seeds) < 2:
        raise BadInput(f"seeds: expected at least 2, or there is no interval, got {len(seeds)}")
    measured = [one.measure(seed) for seed in seeds]
    return [judged(one, part, [numbers[part.key] for numbers in measured]) for part in one.parts]


def judged(one: Claim, part: Part, values: Sequence[float]) -> Row:
    """The row of a part whose numbers are known."""
    low, high = interval(values)
    given = (one.name + part.key, one.where, part.says, part.source, part.least, part.most, tuple(values))
    return Row(*given, statistics.fmean(values), low, high, verdict(low, high, part.least, part.most))


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """mean -+ t s / sqrt(k), with Student's t of k - 1 degrees of freedom.

    Holds the mean of the numbers' distribution with probability `level`, if that is normal. Equal numbers have an
    interval of no width, without rounding: `fmean` and `stdev` add exactly.
    """
    from scipy.stats import t

    k, mean = len(values), statistics.fmean(values)
    half = float(t.ppf((1 + level) / 2, k - 1)) * statistics.stdev(values) / math.sqrt(k)
    return mean - half, mean + half


def verdict(low: float, high: float, least: float, most: float) -> str:
    """Whether the interval is inside the prediction ("holds"), apart from it ("fails"), or neither ("undecided")."""
    if least <= low and high <= most:
        return "holds"
    return "fails" if high < least or most < low else "undecided"
