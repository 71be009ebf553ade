"""The picture of how cost grows: the time of a step along every axis, and on several processes."""

from collections.abc import Sequence
from pathlib import Path

from minilte.show.drawing import draw

CURVES = (  # key of a point, line, colour, label
    ("seconds", "o-", "C0", "a step"),
    ("fit", ":", "C0", "the fit"),
    ("floor", "-", "0.5", "its products alone"),
)


def picture(place: Path, grown: dict) -> None:
    """Draw scale.svg and scale.png of a `bench.scale.report`. Raises DiskTrouble.

    A panel for each axis: a step measured, the fit, and its matrix products alone.
    """

    def paint(panels):
        *first, last = panels.flat
        for axes, axis in zip(first, dict.fromkeys(point["axis"] for point in grown["points"])):
            here = [point for point in grown["points"] if point["axis"] == axis]
            at = [point["at"] for point in here]
            for key, form, color, label in CURVES:
                axes.plot(at, [1e3 * point[key] for point in here], form, color=color, label=label)
            ticked(axes, {"every": "T"}.get(axis, axis), at)
        at = [on["count"] for on in grown["processes"]]
        last.plot(at, [1e3 * on["seconds"] for on in grown["processes"]], "o-", color="C0")
        last.axhline(1e3 * grown["floor"], color="0.5")
        ticked(last, "MPI processes", at)
        first[0].legend(frameon=False)

    draw(place, "scale", paint, (11, 6), panels=(2, 3))


def ticked(axes, name: str, at: Sequence[int]) -> None:
    """A logarithmic axis that names its points; times from zero, but by decades over width and batch."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(at, [str(place) for place in at])
    axes.set(xlabel=name, ylabel="ms a step")
    axes.set(**(dict(yscale="log") if name in ("width", "batch") else dict(ylim=(0, None))))
