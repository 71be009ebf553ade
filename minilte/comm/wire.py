"""Factors on the wire in half the bytes: float16, or bfloat16 by hand (the upper half of a float32, rounded to even).

Error feedback: V_n stores the rounded factors that were merged, so the rounding error is sent with the next merge, and
law L1 holds exactly for them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.errors import Diverged
from minilte.core.types import Array, Tree
from minilte.settings.part import part


class Wire(NamedTuple):
    """How numbers travel: decode(encode(x), dtype of x) is x up to the wire's rounding."""

    dtype: np.dtype | None  # of what travels; None: as it is
    encode: Callable[[Array], Array]
    decode: Callable[[Array, np.dtype], Array]


def to_half(x: Array) -> Array:
    """float16. Raises Diverged beyond 65504."""
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    if not np.isfinite(half).all():
        raise Diverged("wire: a factor is beyond float16 (65504); use --wire bfloat16, or lower --lr")
    return half


def to_brain(x: Array) -> Array:
    """bfloat16, as uint16: add half of what is cut off, and a bit more where the kept part is odd; then cut."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    codes = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(np.uint16)
    codes[np.isnan(x)] = 0x7FC0  # NaN in bfloat16, which the sum above may carry over into a number
    return codes


def from_brain(codes: Array, dtype: np.dtype) -> Array:
    """The numbers that bfloat16 codes stand for."""
    return (codes.astype(np.uint32) << 16).view(np.float32).astype(dtype)


WIRES = {
    "full": Wire(None, lambda x: x, lambda x, dtype: x),
    "float16": Wire(np.dtype(np.float16), to_half, lambda x, dtype: x.astype(dtype)),
    "bfloat16": Wire(np.dtype(np.uint16), to_brain, from_brain),
}


def encoded(wire: Wire, numbers: Tree) -> Tree:
    """A tree as it travels."""
    return tree.map(wire.encode, numbers)


def decoded(wire: Wire, codes: Tree, like: Tree) -> Tree:
    """A tree as it arrives, in the dtypes of `like`."""
    return tree.map(lambda leaf, as_was: wire.decode(leaf, as_was.dtype), codes, like)


def template(wire: Wire, like: Tree) -> Tree:
    """The shapes and dtypes of what travels for numbers like these, without memory."""
    return tree.map(lambda leaf: np.broadcast_to(np.zeros((), wire.dtype or leaf.dtype), leaf.shape), like)


@part("wire", "full", gives={"any number"})
class Full:
    """Factors travel as they are."""

    wire = WIRES["full"]


@part("wire", "float16", needs={"each"})
class Half:
    """Factors in float16."""

    wire = WIRES["float16"]


@part("wire", "bfloat16", gives={"any number"}, needs={"each"})
class Brain:
    """Factors in bfloat16, rounded to even."""

    wire = WIRES["bfloat16"]
