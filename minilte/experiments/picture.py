"""The picture of the method: what one adapter cannot reach, what merging reaches, and what N heads reach together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from minilte.experiments.c1 import ALONE, PLATEAU, SETTINGS, Points, curve, merging
from minilte.show import plots

HEADS = (1, 2, 4, 6, 8)


def picture(place: Path) -> None:
    """Draw method.svg and method.png into a folder. Raises DiskTrouble."""
    plots.draw(place, "method", painter(*curves()), (10, 3.6), panels=(1, 2))


def curves() -> tuple[dict[str, Points], dict[int, Points]]:
    """What is drawn on the left, by its name, and on the right, by the number of heads."""
    one = {
        "one LoRA": curve(replace(ALONE, steps=600)),
        "merged every 50 steps": curve(merging(50, "ab")),
        "merged every 10 steps": curve(merging(10, "ab")),
    }
    return one, {N: curve(together(N)) for N in HEADS}


def together(heads: int):
    """So many heads without a reset; they end at what rank 4 N leaves (law L6), and 8 reach the solution."""
    return replace(SETTINGS, heads=heads, batch=128 * heads, merge_every=10, reset="none")


def painter(one: dict[str, Points], many: dict[int, Points]) -> Callable:
    """Both panels, with the floors that law L6 predicts as dotted lines."""

    def paint(axes):
        left, right = axes
        left.axhline(PLATEAU, color="0.6", ls=":", lw=1)
        for (name, points), color in zip(one.items(), ("0.2", "C0", "C1")):
            left.plot(*zip(*points), color=color, label=name)
        left.set(title="one adapter of rank 4", xlabel="steps", ylabel="left of a 32 x 32 matrix", ylim=(0, 1.03))
        left.text(300, PLATEAU - 0.02, "28/32: what rank 4 cannot reach (law L6)", va="top", ha="center", color="0.4")
        left.legend(frameon=False, loc="center right")
        for N, points in many.items():
            right.plot([0, 600], [1 - N / 8] * 2, color="0.6", ls=":", lw=1)
            right.plot(*zip(*points), color="C2", lw=0.8 + 0.15 * N)
            right.text(610, 1 - N / 8, f"N = {N}", va="center")
        right.set(title="N adapters of rank 4, merged every 10 steps", xlabel="steps", ylim=(-0.03, 1.03))

    return paint
