"""How the time of a step and the bytes of a merge grow, measured along each axis and fitted by what there is to do.

    seconds of a step = a D + b L + c G / T + d U + e N

D flops of the dense products, L of the adapters', G of a merge, U numbers for the optimizer, N heads; a … e are fitted
over all points at once, none negative. D, L, G and U follow from M and M_lte, as the traffic does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.bench import processes as ranks, step
from minilte.bench.step import Size
from minilte.bench.timing import paired
from minilte.show import plots
from minilte.run.machine import one_blas_thread

THREADS = 2
BASE = Size(batch=1024, every=10)
AXES = {
    "width": [BASE._replace(widths=(784, width, width, 10)) for width in (128, 256, 512, 1024, 2048)],
    "heads": [BASE._replace(heads=heads) for heads in (2, 4, 8, 16, 32)],
    "rank": [BASE._replace(rank=rank) for rank in (2, 8, 32, 128)],
    "every": [BASE._replace(every=every) for every in (1, 3, 10, 30)],
    "batch": [BASE._replace(batch=batch) for batch in (64, 256, 1024, 4096)],
}
PROCESSES = (1, 2, 4, 8)


class Point(NamedTuple):
    """A size and the seconds of a step there: measured, and of its products alone."""

    axis: str
    at: int
    size: Size
    seconds: float
    floor: float


class Process(NamedTuple):
    """A number of ranks: seconds of a step, bytes of a merge counted on all of them, and by formula."""

    ranks: int
    seconds: float
    sent: int
    formula: int


def adapter_numbers(size: Size) -> int:
    """M_lte = sum of r (m + n) over the layers."""
    return sum(min(size.rank, m, n) * (m + n) for n, m in zip(size.widths, size.widths[1:]))


def work(size: Size) -> list[float]:
    """D, L, G / T, U, N of a step."""
    layers = list(zip(size.widths, size.widths[1:]))
    M, first = sum(m * n for n, m in layers), layers[0][0] * layers[0][1]
    dense = 2 * size.batch * (2 * M - first)  # no dx of the inputs
    lte = adapter_numbers(size)
    merge = sum(2 * m * 2 * size.heads * min(size.rank, m, n) * n for n, m in layers)
    return [dense, 2 * size.batch * 5 * lte, merge / size.every, size.heads * lte, size.heads]


def axis_value(axis: str, size: Size) -> int:
    """Where a size stands on an axis."""
    return size.widths[1] if axis == "width" else getattr(size, axis)


def measure(runs: int) -> list[Point]:
    """Every point of every axis, beside its floor."""
    points = []
    for axis, sizes in AXES.items():
        for size in sizes:
            with one_blas_thread():
                pair = paired(step.rounds(size, THREADS), step.products(size, THREADS), runs)
            seconds, floor = pair.a.median / size.every, pair.b.median / size.every
            points.append(Point(axis, axis_value(axis, size), size, seconds, floor))
    return points


def processes() -> list[Process]:
    """The base size on MPI ranks."""
    numbers = adapter_numbers(BASE) + sum(BASE.widths[1:])  # factors and biases
    found = []
    for count in PROCESSES:
        seconds, sent = ranks.measured_on(count, BASE)
        found.append(Process(count, seconds / BASE.every, sent, (count - 1) * BASE.heads * numbers * 4))
    return found


def fit(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """(a, b, c, d, e), none negative and of least relative error, and what they predict at every point."""
    from scipy.optimize import nnls

    rows, seconds = np.array([work(point.size) for point in points]), np.array([point.seconds for point in points])
    unit = rows.max(axis=0)
    factors, _ = nnls(rows / unit / seconds[:, None], np.ones(len(points)))
    return list(factors / unit), list(rows @ (factors / unit))


def picture(place: Path, points: Sequence[Point], expected: Sequence[float], on: Sequence[Process]) -> None:
    """One panel an axis: measured, fitted, and the floor of the products."""

    def paint(panels):
        *first, last = panels.flat
        for axes, axis in zip(first, AXES):
            here = [(point, model) for point, model in zip(points, expected) if point.axis == axis]
            at = [point.at for point, _ in here]
            axes.plot(at, [1e3 * point.seconds for point, _ in here], "o-", color="C0", label="a step")
            axes.plot(at, [1e3 * model for _, model in here], ":", color="C0", label="the fit")
            axes.plot(at, [1e3 * point.floor for point, _ in here], color="0.5", label="its products alone")
            ticked(axes, {"every": "T"}.get(axis, axis), at)
        at = [one.ranks for one in on]
        last.plot(at, [1e3 * one.seconds for one in on], "o-", color="C0")
        last.axhline(1e3 * next(point.floor for point in points if point.size == BASE), color="0.5")
        ticked(last, "MPI ranks", at)
        first[0].legend(frameon=False)

    plots.draw(place, "scale", paint, (11, 6), panels=(2, 3))


def ticked(axes, name: str, at: Sequence[int]) -> None:
    """A logarithmic axis that names its points; times from zero, but by decades over width and batch."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(at, [str(one) for one in at])
    axes.set(xlabel=name, ylabel="ms a step")
    axes.set(**(dict(yscale="log") if name in ("width", "batch") else dict(ylim=(0, None))))


def report(points: Sequence[Point], factors, expected, on: Sequence[Process]) -> dict:
    """Everything as plain values."""
    off = [abs(model / point.seconds - 1) for point, model in zip(points, expected)]
    return {
        "base": str(BASE),
        "points": [
            {"axis": p.axis, "at": p.at, "seconds": p.seconds, "floor": p.floor, "fit": model}
            for p, model in zip(points, expected)
        ],
        "ranks": [one._asdict() for one in on],
        "factors": dict(zip(("dense", "adapters", "merge", "optimizer", "head"), factors)),
        "error": {"median": float(np.median(off)), "worst": float(max(off))},
    }


def lines(told: dict) -> list[str]:
    """The report to read."""
    out = [f"\nhow cost grows, from {told['base']}", f"{'':14}{'ms a step':>10}{'the fit':>10}{'floor':>10}"]
    for p in told["points"]:
        numbers = "".join(f"{1e3 * p[key]:10.2f}" for key in ("seconds", "fit", "floor"))
        out.append(f"  {p['axis']:6}{p['at']:6}{numbers}")
    for one in told["ranks"]:
        counted = f"{one['sent']:,} bytes a merge counted, {one['formula']:,} by formula"
        out.append(f"  ranks {one['ranks']:6}{1e3 * one['seconds']:10.2f}   {counted}")
    a, b, c, d, e = told["factors"].values()
    rates = [f"{name} {1e-9 / one:.0f} Gflop/s" for name, one in (("dense", a), ("adapters", b), ("merge", c)) if one]
    rest = [f"{1e9 * d:.1f} ns a number of a factor", f"{1e6 * e:.0f} us a head"]
    out.append(f"  fitted: {', '.join(rates + rest)}")
    out.append(
        f"  off by {100 * told['error']['median']:.0f} % at the median, {100 * told['error']['worst']:.0f} % at most"
    )
    return out
