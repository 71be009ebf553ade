"""How the time of a step and the bytes of a merge grow, measured along each axis and fitted by operation counts.

    seconds of a step = a D + b L + c G / T + d U + e N

D flops of the dense products, L of the adapters', G of a merge, U numbers for the optimizer, N heads; a … e are fitted
over all points at once, none negative. D, L, G and U follow from M and M_lte, as the traffic does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.bench import step
from minilte.bench.processes import measured_on
from minilte.bench.step import Size
from minilte.bench.timing import paired
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
    """A size and the seconds of a step: measured, and of its products alone."""

    axis: str
    at: int
    size: Size
    seconds: float
    floor: float


class Process(NamedTuple):
    """A number of processes: seconds of a step, bytes of a merge counted on all of them, and by formula."""

    count: int
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
    """The base size on MPI processes."""
    numbers = adapter_numbers(BASE) + sum(BASE.widths[1:])  # factors and biases
    found = []
    for count in PROCESSES:
        seconds, sent = measured_on(count, BASE)
        found.append(Process(count, seconds / BASE.every, sent, (count - 1) * BASE.heads * numbers * 4))
    return found


def fit(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """(a, b, c, d, e), none negative and of least relative error, and what they predict at every point."""
    from scipy.optimize import nnls

    rows, seconds = np.array([work(point.size) for point in points]), np.array([point.seconds for point in points])
    unit = rows.max(axis=0)
    factors, _ = nnls(rows / unit / seconds[:, None], np.ones(len(points)))
    return list(factors / unit), list(rows @ (factors / unit))


def report(points: Sequence[Point], factors, expected, on: Sequence[Process]) -> dict:
    """Everything as plain values."""
    off = [abs(model / point.seconds - 1) for point, model in zip(points, expected)]
    return {
        "base": str(BASE),
        "floor": next(p.floor for p in points if p.size == BASE),
        "points": [
            {"axis": p.axis, "at": p.at, "seconds": p.seconds, "floor": p.floor, "fit": model}
            for p, model in zip(points, expected)
        ],
        "processes": [process._asdict() for process in on],
        "factors": dict(zip(("dense", "adapters", "merge", "optimizer", "head"), factors)),
        "error": {"median": float(np.median(off)), "worst": float(max(off))},
    }


def lines(grown: dict) -> list[str]:
    """The report to read."""
    out = [f"\nhow cost grows, from {grown['base']}", f"{'':14}{'ms a step':>10}{'the fit':>10}{'floor':>10}"]
    for p in grown["points"]:
        numbers = "".join(f"{1e3 * p[key]:10.2f}" for key in ("seconds", "fit", "floor"))
        out.append(f"  {p['axis']:6}{p['at']:6}{numbers}")
    for on in grown["processes"]:
        counted = f"{on['sent']:,} bytes a merge counted, {on['formula']:,} by formula"
        out.append(f"  processes {on['count']:2}{1e3 * on['seconds']:10.2f}   {counted}")
    a, b, c, d, e = grown["factors"].values()
    rates = [f"{name} {1e-9 / x:.0f} Gflop/s" for name, x in (("dense", a), ("adapters", b), ("merge", c)) if x]
    rest = [f"{1e9 * d:.1f} ns a number of a factor", f"{1e6 * e:.0f} us a head"]
    out.append(f"  fitted: {', '.join(rates + rest)}")
    out.append(
        f"  off by {100 * grown['error']['median']:.0f} % at the median, {100 * grown['error']['worst']:.0f} % at most"
    )
    return out
