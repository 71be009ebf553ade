"""Times that can be trusted on a shared machine: paired measurements in turn, medians, and the ratio pair by pair."""

import math
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
    """Two functions timed in turn: their seconds, and the ratio of each pair."""

    a: Spread
    b: Spread
    ratio: Spread


BLOCK = 0.2  # seconds, at least, of each side of a pair


def paired(a: Callable[[], object], b: Callable[[], object], runs: int = 7, warm: int = 2) -> Pair:
    """a b a b …: each side is timed over as many calls as fill a block, after `warm` pairs that are not counted.

    A block and not one call: a core that waited for the other side needs some 10 ms to come to speed, as long as
    the shortest function timed here.
    """
    calls = [max(1, math.ceil(BLOCK / min(seconds(work) for _ in range(warm)))) for work in (a, b)]
    times = [tuple(block(work, many) for work, many in zip((a, b), calls)) for _ in range(runs)]
    firsts, others = zip(*times)
    return Pair(spread(list(firsts)), spread(list(others)), spread([first / other for first, other in times]))


def block(work: Callable[[], object], calls: int) -> float:
    """Wall time of a call, as the mean of `calls` in a row."""
    return seconds(lambda: [work() for _ in range(calls)]) / calls
