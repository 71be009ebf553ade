"""Where the mean of a few numbers lies, such as those of a run at several seeds."""

import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """mean -+ t s / sqrt(k), with Student's t of k - 1 degrees of freedom.

    Holds the mean of the numbers' distribution with probability `level`, if that is normal. Equal numbers have an
    interval of no width, without rounding: `fmean` and `stdev` add exactly.
    """
    from scipy.stats import t

    k, mean = len(values), statistics.fmean(values)
    half = float(t.ppf((1 + level) / 2, k - 1)) * statistics.stdev(values) / math.sqrt(k)
    return mean - half, mean + half
