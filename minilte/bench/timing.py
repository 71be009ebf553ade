"""Times that can be trusted on a shared machine: two things in turn, medians, and the ratio pair by pair."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of some measurements, their smallest and largest, and how many there were."""

    median: float
    least: float
    most: float
    count: int


def spread(values: list[float]) -> Spread:
    """Median, least, most, count."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class Pair(NamedTuple):
    """Two things measured in turn: their seconds, and the ratio of each pair."""

    a: Spread
    b: Spread
    ratio: Spread


def paired(a: Callable[[], object], b: Callable[[], object], runs: int = 7, warm: int = 2) -> Pair:
    """a b a b …: each call is timed alone; the first `warm` pairs are not counted."""
    times = [(seconds(a), seconds(b)) for _ in range(warm + runs)][warm:]
    firsts, seconds_ = [one for one, _ in times], [other for _, other in times]
    return Pair(spread(firsts), spread(seconds_), spread([one / other for one, other in times]))
