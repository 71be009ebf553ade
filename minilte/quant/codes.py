"""Codes: a weight is a level times the largest magnitude of its block (absmax quantization).

    q(w) = level[code] * absmax,  absmax = the largest |w| of the block

int8 and int4 have the uniform levels k/K, K = 127 and 7; NF4 has the quantiles of a normal distribution (Dettmers et
al. 2023). A block is a run of the row-major matrix: the whole of it, a row, or 64 numbers (the last may be shorter).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.core.errors import Diverged
from minilte.core.types import Array

NF4 = np.float32(
    "-1 -0.6961928009986877 -0.5250730514526367 -0.39491748809814453 -0.28444138169288635 -0.18477343022823334 "
    "-0.09105003625154495 0 0.07958029955625534 0.16093020141124725 0.24611230194568634 0.33791524171829224 "
    "0.44070982933044434 0.5626170039176941 0.7229568362236023 1".split()
)
LEVELS = {  # in order; k / K is decoded as (k / K) * absmax, which gives q(q(W)) = q(W) exactly
    "int8": np.arange(-127, 128) / np.float32(127),
    "int4": np.arange(-7, 8) / np.float32(7),
    "nf4": NF4,
}
SCALES = ("tensor", "row", "block")
ROUNDINGS = ("nearest", "stochastic")


class Quantizer(NamedTuple):
    """How weights are coded."""

    code: str = "nf4"  # or "int8", "int4"
    scale: str = "block"  # an absmax for each "tensor", "row" or "block"
    block: int = 64
    rounding: str = "nearest"  # or "stochastic"


def block_size(quantizer: Quantizer, m: int, n: int) -> int:
    """Numbers that share a scale."""
    return {"tensor": m * n, "row": n, "block": quantizer.block}[quantizer.scale]


def absmax(flat: Array, block: int) -> Array:
    """The largest magnitude of each block.    (k,)->(ceil(k / block),)

    Raises Diverged where it is not finite.
    """
    largest = np.maximum.reduceat(np.abs(flat), np.arange(0, flat.size, block))
    if not np.isfinite(largest).all():
        raise Diverged("quantization: the weights are no longer finite; lower --lr or --alpha, or set --clip")
    return largest


def encode(W: Array, quantizer: Quantizer, draw: Callable[[tuple], Array] | None = None) -> tuple[Array, Array]:
    """(codes, absmax) of a matrix: an index into the levels for each number, as bytes.    (m,n)->(mn),(blocks)

    draw(shape) gives uniform numbers in [0, 1) for stochastic rounding.

    >>> codes, largest = encode(np.array([[0.0, 7.0, -3.4, 0.6]]), Quantizer("int4"))
    >>> codes.tolist(), largest.tolist()  # code 7 is zero
    ([7, 14, 4, 8], [7.0])
    """
    flat, block = np.ravel(W), block_size(quantizer, *W.shape)
    largest = absmax(flat, block)
    at_least = np.where(largest > 0, largest, 1)  # a block of zeros has the code of zero
    x = flat / np.repeat(at_least, block)[: flat.size]
    levels = LEVELS[quantizer.code].astype(W.dtype)
    if quantizer.rounding == "stochastic":
        return either(x, levels, draw(x.shape)), largest
    return (nearest if quantizer.code == "nf4" else evenly)(x, levels), largest


def nearest(x: Array, levels: Array) -> Array:
    """The index of the nearest level, the lower of two equally near.    (k,),(levels)->(k,)"""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, x, side="left").astype(np.uint8)


def evenly(x: Array, levels: Array) -> Array:
    """The index of the nearest of the levels k / K, half to even.    (k,),(2K+1)->(k,)"""
    K = len(levels) // 2
    return (np.rint(x * K) + K).astype(np.uint8)


ON_A_LEVEL = 8  # units in the last place that a decoded number may be off its level


def either(x: Array, levels: Array, chance: Array) -> Array:
    """The level below or above, with the chances that make the mean exact; what lies on a level stays.

    Shapes: (k,),(levels),(k,)->(k,). `chance` is uniform in [0, 1).
    """
    close = nearest(x, levels)
    below = np.clip(np.searchsorted(levels, x, side="right") - 1, 0, len(levels) - 2)
    chance_up = (x - levels[below]) / (levels[below + 1] - levels[below])
    up = (below + (chance < chance_up)).astype(np.uint8)
    on = np.abs(x - levels[close]) <= ON_A_LEVEL * np.finfo(x.dtype).eps * np.abs(levels[close])
    return np.where(on, close, up)


def decode(codes: Array, largest: Array, quantizer: Quantizer, shape: tuple[int, int]) -> Array:
    """The matrix that codes stand for.    (mn),(blocks)->(m,n)"""
    levels = LEVELS[quantizer.code].astype(largest.dtype)
    block = block_size(quantizer, *shape)
    return (levels[codes] * np.repeat(largest, block)[: codes.size]).reshape(shape)


def fake(W: Array, quantizer: Quantizer, draw: Callable[[tuple], Array] | None = None) -> Array:
    """q(W) as a matrix of floats: fake quantization, at no saving.    (m,n)->(m,n)

    >>> W = np.array([[0.0, 8.0, -3.5, 0.5]])
    >>> np.round(fake(W, Quantizer("nf4")), 3).tolist()
    [[0.0, 8.0, -3.159, 0.637]]
    >>> once = fake(W, Quantizer("nf4"))
    >>> np.array_equal(fake(once, Quantizer("nf4")), once)  # twice is once, exactly
    True
    """
    return decode(*encode(W, quantizer, draw), quantizer, W.shape)
