"""Thin wires: numbers that travel in few bytes, as rows of whole blocks, between any two of which a vector may be cut.

    float16    2 bytes a number, up to 65504
    bfloat16   2 bytes: the upper half of a float32, rounded to even
    int8       a byte a number, and for 64 numbers their absmax in the run's dtype: 68 bytes in float32
    int4, nf4  half a byte a number, and the absmax

What a wire rounds away is not lost. Where heads keep V_n, it stores the decoded factors that were merged, so the error is
sent with the next merge, and law L1 holds exactly for them. Where a sum is merged, a head keeps its error itself: see
`around.fed_back`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.errors import Diverged
from minilte.core.types import Array, Tree
from minilte.quant import packed
from minilte.quant.codes import LEVELS, Quantizer
from minilte.settings.part import part

BLOCK = 64  # numbers that share a scale


class Wire(NamedTuple):
    """How a vector travels: decode(encode(x), dtype of x) is x up to the wire's rounding."""

    block: int  # numbers in a row
    width: Callable[[np.dtype], int]  # dtype of the numbers -> bytes in a row
    encode: Callable[[Array], Array]  # (k block,) -> (k, width), uint8
    decode: Callable[[Array, np.dtype], Array]  # (k, width), dtype -> (k block,)


def to_half(x: Array) -> Array:
    """float16. Raises Diverged beyond 65504."""
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    if not np.isfinite(half).all():
        raise Diverged(
            "wire: what is sent is beyond float16 (65504); use --wire bfloat16, or targets in a smaller unit, or lower --lr"
        )
    return half


def to_brain(x: Array) -> Array:
    """bfloat16, as uint16: add half of what is cut off, and a bit more where the kept part is odd; then cut."""
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    found = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(np.uint16)
    found[np.isnan(x)] = 0x7FC0  # NaN in bfloat16, which the sum above may carry over into a number
    return found


def from_brain(found: Array, dtype: np.dtype) -> Array:
    """The numbers that bfloat16 codes stand for."""
    return (found.astype(np.uint32) << 16).view(np.float32).astype(dtype)


def apart(x: Array) -> Array:
    """Each number as a row of its bytes.    (k,)->(k, itemsize)"""
    return np.ascontiguousarray(x).view(np.uint8).reshape(x.size, x.itemsize)


def joined(rows: Array, dtype: np.dtype) -> Array:
    """The numbers of such rows, as many in each as there are.    (k, width)->(…)"""
    return np.ascontiguousarray(rows).reshape(-1).view(dtype)


def by_code(code: str, block: int = BLOCK) -> Wire:
    """Blocks of codes, each behind its absmax. Raises Diverged where a number is not finite."""
    kind = Quantizer(code, "row")  # a block is a row of a packed matrix

    def encode(x):
        if not x.size:
            return np.empty((0, width(x.dtype)), np.uint8)
        try:
            made = packed.pack(x.reshape(-1, block), kind)
        except Diverged:
            raise Diverged("wire: a factor is no longer finite; lower --lr, or set --clip") from None
        return np.concatenate([apart(made.absmax), made.codes.reshape(len(made.absmax), -1)], axis=1)

    def decode(rows, dtype):
        if not len(rows):
            return np.empty(0, dtype)
        scales, codes = np.split(rows, [np.dtype(dtype).itemsize], axis=1)
        made = packed.empty(kind, (len(rows), block), dtype)
        return packed.unpacked(made._replace(codes=codes.reshape(-1), absmax=joined(scales, dtype))).reshape(-1)

    def width(dtype):
        return np.dtype(dtype).itemsize + packed.empty(kind, (1, block), dtype).codes.size

    return Wire(block, width, encode, decode)


FULL = Wire(1, lambda dtype: np.dtype(dtype).itemsize, apart, joined)
WIRES = {
    "full": FULL,
    "float16": Wire(1, lambda _: 2, lambda x: apart(to_half(x)), lambda rows, dtype: joined(rows, np.float16).astype(dtype)),
    "bfloat16": Wire(1, lambda _: 2, lambda x: apart(to_brain(x)), lambda rows, dtype: from_brain(joined(rows, np.uint16), dtype)),
    **{code: by_code(code) for code in LEVELS},
}  # fmt: skip


def rows_of(wire: Wire, x: Array) -> Array:
    """An array in rows, the last filled with zeros.    (…)->(k, width)"""
    flat = x.reshape(-1)
    return wire.encode(np.pad(flat, (0, -flat.size % wire.block)))


def empty(wire: Wire, size: int, dtype: np.dtype) -> Array:
    """A template of the rows of so many numbers, without memory."""
    return np.broadcast_to(np.zeros((), np.uint8), (-(-size // wire.block), wire.width(dtype)))


def numbers_of(wire: Wire, rows: Array, like: Array) -> Array:
    """The array that rows stand for, in the shape and dtype of `like`."""
    return wire.decode(rows, like.dtype)[: like.size].reshape(like.shape)


def encoded(wire: Wire, numbers: Tree) -> Tree:
    """A tree as it travels, leaf by leaf."""
    return tree.map(lambda leaf: rows_of(wire, leaf), numbers)


def decoded(wire: Wire, rows: Tree, like: Tree) -> Tree:
    """A tree as it arrives, in the shapes and dtypes of `like`."""
    return tree.map(lambda leaf, as_was: numbers_of(wire, leaf, as_was), rows, like)


def template(wire: Wire, like: Tree) -> Tree:
    """The shapes and dtypes of what travels for numbers like these, without memory."""
    return tree.map(lambda leaf: empty(wire, leaf.size, leaf.dtype), like)


@part("wire", "full", gives={"any number"})
class Full:
    """Factors travel as they are."""

    wire = FULL


def thin(name: str, words: str, **more) -> type:
    """The part of a thin wire."""

    @part("wire", name, needs={"codes"}, **more)
    class Thin:
        wire = WIRES[name]

    Thin.__doc__ = words
    return Thin


HALF = thin("float16", "Factors in float16.")
BRAIN = thin("bfloat16", "Factors in bfloat16, rounded to even.", gives={"any number"})
INT8 = thin("int8", "Factors in codes of 8 bits, a scale for 64.")
INT4 = thin("int4", "Factors in codes of 4 bits, a scale for 64.")
NF4 = thin("nf4", "Factors in the 16 quantiles of a normal distribution, a scale for 64.")
