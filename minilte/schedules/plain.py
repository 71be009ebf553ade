"""The plain schedules of `core.schedules`: constant, linear and cosine, each after a linear warm-up."""

from collections.abc import Callable

from minilte.core.schedules import schedule
from minilte.settings.knob import knob
from minilte.settings.part import part


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
