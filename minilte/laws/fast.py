"""Fast forms have the bits of the plain forms."""

import numpy as np
from hypothesis import strategies as st

from minilte.core import optim, tree
from minilte.core.random import stream
from minilte.laws.law import EXACT, law
from minilte.laws.strategies import seeds, sizes
from minilte.steps import adamw

NUMBERS = st.sampled_from([1, 7, adamw.CHUNK, adamw.CHUNK + 1])  # of a vector: in one stretch, or in more


@law(
    "adamw",
    "AdamW in stretches",
    "`steps.adamw`, on new memory or in place, has the bits of `core.optim.adamw`, in float32 and float64, with any decay, at every step",
    lambda: st.tuples(
        seeds,
        st.tuples(sizes, sizes),
        NUMBERS,
        st.sampled_from(["float32", "float64"]),
        st.sampled_from([0.0, 0.1]),
        st.sampled_from(["C", "F"]),
        st.integers(1, 4),
    ),
    0.0,
    EXACT,
)
def adamw_in_stretches(case, variant):
    """Every operation is the plain form's, element by element, in the same order."""
    seed, shape, numbers, dtype, decay, order, steps = case
    settings = dict(b1=0.8, b2=0.99, eps=1e-7, weight_decay=decay)
    plain, fast = optim.adamw(**settings), adamw.adamw(**settings)
    draw = lambda step: {  # noqa: E731  a matrix, in the order of C or Fortran, a vector, and nothing
        "a": np.asarray(stream(seed, "check", step).standard_normal(shape), dtype, order),
        "b": (stream(seed, "check", step, 1).standard_normal(numbers).astype(dtype), None),
    }
    expected, moved, in_place = ((draw(0), each.init(draw(0))) for each in (plain, fast, fast))
    for step in range(1, steps + 1):
        rate, grads = 0.1 / step, draw(step)
        expected = plain.update(expected[0], grads, expected[1], rate)
        moved = fast.update(moved[0], grads, moved[1], rate)
        in_place = fast.in_place(in_place[0], grads, in_place[1], rate)
        if not same_bits(expected, moved) or not same_bits(expected, in_place):
            return 1.0
    return 0.0


def same_bits(a, b) -> bool:
    """Are two trees the same, dtypes and bits?"""
    bits = lambda these: [(path, leaf.dtype, leaf.tobytes()) for path, leaf in tree.named(these)]  # noqa: E731
    return bits(a) == bits(b)
