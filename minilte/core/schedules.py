"""Learning rates as functions of the step: linear warm-up, then constant, linear or cosine."""

import math
from collections.abc import Callable

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
