"""The best settings of an entry on a grid, which widens while the best of it stands on an edge.

A plan is a generator: it yields the runs that it needs next, is sent what came of them, and returns what it was after.
So plans that know nothing of each other share the processes of a machine, see `ladder.together`.
"""

import itertools
import statistics
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

WIDER = 6  # values that an axis may grow by at either end

Point = dict[str, float]  # knob -> value
Axes = dict[str, list[float]]  # knob -> its values, rising


class Tuned(NamedTuple):
    """The best point of a grid, and all of the grid."""

    best: Point
    score: float
    grid: list[tuple[Point, float]]  # every point tried, with its mean score; infinite where a run diverged
    edges: list[str]  # where the best still stands on an edge, in words


def tuned(
    axes: Axes, score: Callable[[Point], tuple[list, Callable]], admits: Callable[[Point], bool]
) -> Generator[list, list, Tuned]:
    """A plan for the best point. `score(point)` is (runs, how their outcomes become a number); less is better.

    First the whole grid is tried, then whatever is beside the best of it, on every axis at once, until nothing there is
    new. So where the best stands on an edge, the grid widens there, unless `admits` refuses it or an axis has grown by
    `WIDER` at that end. Among equals the one of
    the smallest values is taken.
    """
    values = {name: sorted(of) for name, of in axes.items()}
    found: dict[tuple, float] = {}
    new = list(itertools.product(*values.values()))
    while new:
        asked = [score(dict(zip(axes, point))) for point in new]
        outcomes = iter((yield [run for runs, _ in asked for run in runs]))
        for point, (runs, number) in zip(new, asked):
            found[point] = number(list(itertools.islice(outcomes, len(runs))))
        best = min(found, key=lambda point: (found[point], point))  # where all diverged, the lowest rate
        values = {name: widened(of, axes[name], best[k]) for k, (name, of) in enumerate(values.items())}
        beside = itertools.product(*(neighbours(of, best[k]) for k, of in enumerate(values.values())))
        new = [point for point in beside if point not in found and admits(dict(zip(axes, point)))]
    grid = [(dict(zip(axes, point)), value) for point, value in found.items()]
    edges = [edge(name, [point[k] for point in found], best[k]) for k, name in enumerate(axes)]
    return Tuned(dict(zip(axes, best)), found[best], grid, [words for words in edges if words])


def neighbours(values: Sequence[float], best: float) -> Sequence[float]:
    """The value with those next to it."""
    place = values.index(best)
    return values[max(0, place - 1) : place + 2]


def widened(values: list[float], first: Sequence[float], best: float) -> list[float]:
    """The axis with a value more where the best stands on its edge.

    A geometric axis goes on as it began: 0.001, 0.002 to 0.004; a lone value by factors of 2. `first` is how it began. Zero
    stands apart: the least value above it is an edge, too, and where zero itself is best, one more is tried above it.
    """
    above = [value for value in values if value > 0]
    began = [value for value in first if value > 0]
    lower = sum(value < min(began) for value in above) if began else WIDER
    if best > 0 and best == values[-1] and sum(value > max(first) for value in values) < WIDER:
        values = [*values, next_value(above[-2] if len(above) > 1 else above[-1] / 2, above[-1])]
    if (best > 0 and best == above[0] and lower < WIDER) or (best == 0 and not lower):
        new = next_value(above[1] if len(above) > 1 else 2 * above[0], above[0])
        values = sorted({*values, new})
    return values


def next_value(before: float, last: float) -> float:
    """The value after two of a geometric axis, to four digits; a whole number after whole numbers."""
    new = last * last / before
    return max(1, round(new)) if isinstance(last, int) else float(f"{new:.4g}")


def edge(name: str, values: Sequence[float], best: float) -> str:
    """Where the best stands on an edge of an axis, in words; nothing inside it, or at zero."""
    above = [value for value in values if value > 0]
    if best == 0 or min(above) < best < max(above):
        return ""
    least = "smallest above zero" if 0 in values else "smallest"
    return f"{name} {best:g} is the {'largest' if best == max(above) else least} that was tried"


def mean_score(criterion: str) -> Callable[[list], float]:
    """The mean of a score over the outcomes of several seeds; infinite where a run diverged."""
    return lambda outcomes: statistics.fmean(outcome.score(criterion) for outcome in outcomes)
