"""The curves of the picture of the method: one head, merged and not, and N heads together."""

from minilte.experiments.c1 import ALONE, SETTINGS, Points, curve, merging
from minilte.settings.config import Config

HEADS = (1, 2, 4, 6, 8)


def curves() -> tuple[dict[str, Points], dict[int, Points]]:
    """The runs of one head by their names, and those of N heads by their number."""
    single = {
        "one LoRA": curve(ALONE.replace(steps=600)),
        "merged every 50 steps": curve(merging(50, "ab")),
        "merged every 10 steps": curve(merging(10, "ab")),
    }
    return single, {N: curve(together(N)) for N in HEADS}


def together(heads: int) -> Config:
    """N heads without a reset; they end at what rank 4 N leaves (law L6), and 8 reach the solution."""
    return SETTINGS.replace(heads=heads, batch=128 * heads, merge_every=10, reset="none")


def floors() -> dict[int, float]:
    """What rank 4 N leaves of 32 equal singular values."""
    return {N: 1 - N / 8 for N in HEADS}
