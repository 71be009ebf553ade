"""Local steps with V_n absorbed: a head computes with its own dense W - s_n V_n, beside s_n B_n A_n alone.

The same layer in another form (section 3.4 of the paper has this one). It saves the correction in every product and
costs an m x n matrix a head. It needs W in full precision: with q(W) every head would have another base, which is
neither shared nor sent.
"""

from collections.abc import Callable, Sequence

from minilte.core.head import each_alone
from minilte.core.merge import plus_products
from minilte.core.types import Head, Main, Task


def absorbed_steps(
    task: Task, scales, shares, main: Main, heads: Sequence[Head], start: int, stop: int, each: Callable = map
) -> list[Head]:
    """Local steps for `lte`: those of `each_alone` around W - s V, with V handed back untouched."""

    def alone(head):
        if head.then is None:
            return each_alone(task, scales, shares, main, [head], start, stop)[0]
        weights = dict(main.weights)
        for name, V in head.then.items():
            weights[name] = weights[name]._replace(W=plus_products(weights[name].W, [V], [-scales[head.index][name]]))
        around = main._replace(weights=weights)
        return each_alone(task, scales, shares, around, [head._replace(then=None)], start, stop)[0]._replace(
            then=head.then
        )

    return list(each(alone, heads))
