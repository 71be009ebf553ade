"""Learning rates as functions of the step: linear warm-up, then constant, linear or cosine."""

import math
from collections.abc import Callable

from minilte.settings.knob import knob
from minilte.settings.part import part

SHAPES = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}


def schedule(shape: str, lr: float, steps: int, warmup: float = 0.0) -> Callable[[int], float]:
    """step -> rate. The first `warmup` fraction of the steps climbs lr/w, 2 lr/w, … lr; the rest follows `shape`.

    >>> [schedule("linear", 1.0, 4)(step) for step in range(4)]  # zero only after the last step
    [1.0, 0.75, 0.5, 0.25]
    """
    w = round(warmup * steps)
    follow = SHAPES[shape]

    def rate(step: int) -> float:
        if step < w:
            return lr * ((step + 1) / w)
        return lr * follow((step - w) / max(1, steps - w))

    return rate


def plain(shape: str, words: str) -> type:
    """The part of a shape."""

    @part("schedule", shape)
    class Plain:
        """A rate that climbs to its largest in the warm-up and then follows the shape."""

        warmup: float = knob(0.05, "fraction of the steps with a rising rate", least=0.0, most=1.0)

        def build(self, lr: float, steps: int) -> Callable[[int], float]:
            """step -> rate, whose largest is lr."""
            return schedule(shape, lr, steps, self.warmup)

    Plain.__doc__ = words
    return Plain


CONSTANT = plain("constant", "The largest rate to the end.")
LINEAR = plain("linear", "Down a straight line to zero after the last step.")
COSINE = plain("cosine", "Down half a cosine to zero after the last step (Loshchilov & Hutter 2017).")
