"""The picture of the method: the floor of one adapter, one adapter with merging, and N heads together."""

from collections.abc import Sequence
from pathlib import Path

from minilte.show.drawing import draw

Points = Sequence[tuple[int, float]]  # (step, fraction of the loss at the start)


def picture(place: Path, single: dict[str, Points], many: dict[int, Points], floors: dict[int, float]) -> None:
    """Draw method.svg and method.png: curves of a single head by name, and of N heads. Raises DiskTrouble.

    `floors` is the least that N heads leave without a reset (law L6): the dotted lines.
    """

    def paint(axes):
        left, right = axes
        left.axhline(floors[1], color="0.6", ls=":", lw=1)
        for (name, points), color in zip(single.items(), ("0.2", "C0", "C1")):
            left.plot(*zip(*points), color=color, label=name)
        left.set(title="one adapter of rank 4", xlabel="steps", ylabel="left of a 32 x 32 matrix", ylim=(0, 1.03))
        floor = "28/32: what rank 4 cannot reach (law L6)"
        left.text(300, floors[1] - 0.02, floor, va="top", ha="center", color="0.4")
        left.legend(frameon=False, loc="center right")
        for N, points in many.items():
            right.plot([0, 600], [floors[N]] * 2, color="0.6", ls=":", lw=1)
            right.plot(*zip(*points), color="C2", lw=0.8 + 0.15 * N)
            right.text(610, floors[N], f"N = {N}", va="center")
        right.set(title="N adapters of rank 4, merged every 10 steps", xlabel="steps", ylim=(-0.03, 1.03))

    draw(place, "method", paint, (10, 3.6), panels=(1, 2))
