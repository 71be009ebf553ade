"""A packed matrix: two 4-bit codes a byte, decoded block by block inside a product and never as a whole.

`x @ W.T` and `dy @ W` work as with an array, so a layer does not know that its W is packed.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minilte.core.types import Array
from minilte.quant.codes import LEVELS, Quantizer, block_size, encode

CHUNK, PIECES = 1 << 21, 8  # numbers decoded at a time: 8 MB of float32, but an eighth of the matrix at most
LOOK_UP = 1 << 16  # bytes looked up at a time


class Packed(NamedTuple):
    """q(W) as codes and scales: arrays alone, so that it is saved, sent and counted like any other tree."""

    codes: Array  # (ceil(mn/2),) or (mn,), uint8
    absmax: Array  # (blocks,)
    levels: Array  # (16,) or (256,), what a code stands for
    layout: Array  # (3,), int64: m, n, numbers in a block

    __array_ufunc__ = None  # so that `array @ packed` comes to __rmatmul__

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return int(self.layout[0]), int(self.layout[1])

    @property
    def dtype(self) -> np.dtype:
        """Of the decoded numbers."""
        return self.absmax.dtype

    @property
    def block(self) -> int:
        """Numbers that share a scale."""
        return int(self.layout[2])

    @property
    def per_byte(self) -> int:
        """Codes in a byte."""
        return 2 if len(self.levels) == 16 else 1

    @property
    def T(self) -> "Transposed":
        """W^T, for x W^T."""
        return Transposed(self)

    def __rmatmul__(self, dy: Array) -> Array:
        """dy W, block of columns by block of columns.    (…,m),(m,n)->(…,n)"""
        dx = np.zeros((*dy.shape[:-1], self.shape[1]), np.result_type(dy, self.dtype))
        if regular(self):
            for columns, W in column_blocks(self):
                np.matmul(dy, W, out=dx[..., columns])
        else:  # a block of the scales goes on in the next row
            for rows, W in row_blocks(self):
                dx += dy[..., rows] @ W
        return dx


class Transposed(NamedTuple):
    """W^T of a packed matrix."""

    W: Packed

    __array_ufunc__ = None

    def __rmatmul__(self, x: Array) -> Array:
        """x W^T, block by block of rows of W.    (…,n),(m,n)->(…,m)"""
        y = np.empty((*x.shape[:-1], self.W.shape[0]), np.result_type(x, self.W.dtype))
        for rows, W in row_blocks(self.W):
            np.matmul(x, W.T, out=y[..., rows])
        return y


def pack(W: Array, quantizer: Quantizer, draw: Callable[[tuple], Array] | None = None) -> Packed:
    """q(W), packed.    (m,n)->Packed

    >>> W = pack(np.eye(4, 6), Quantizer("int4"))
    >>> W.codes.nbytes, W.shape  # 24 numbers in 12 bytes
    (12, (4, 6))
    >>> (np.ones((1, 4)) @ W).tolist()  # dy W, without unpacking W
    [[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]]
    """
    made = empty(quantizer, W.shape, W.dtype)
    codes, made.absmax[:] = encode(W, quantizer, draw)
    made.codes[:] = codes[:: made.per_byte]  # in the low half of a byte
    if made.per_byte == 2:
        made.codes[: codes.size // 2] |= codes[1::2] << 4
    return made


def empty(quantizer: Quantizer, shape: tuple[int, int], dtype) -> Packed:
    """A packed matrix of zeros, to be written to."""
    numbers, block = math.prod(shape), block_size(quantizer, *shape)
    known = LEVELS[quantizer.code]
    levels = np.zeros(16 if len(known) <= 16 else 256, dtype)
    levels[: len(known)] = known
    codes = np.zeros(-(-numbers // (2 if len(levels) == 16 else 1)), np.uint8)
    return Packed(codes, np.zeros(-(-numbers // block), dtype), levels, np.array([*shape, block], np.int64))


def row_blocks(W: Packed, chunk: int | None = None) -> Iterator[tuple[slice, Array]]:
    """(rows, the decoded rows), block after block, in one workspace: each overwrites the last."""
    (m, n), block, table = W.shape, W.block, pairs(W.levels)
    step = rows_at_once(W, chunk or at_a_time(W))
    work = np.empty(-(-step * n // W.per_byte), table.dtype)
    for first in range(0, m, step):
        rows = slice(first, min(first + step, m))
        start, stop = rows.start * n, rows.stop * n  # in the row-major matrix; a byte and a block begin at the start
        codes = W.codes[start // W.per_byte : -(-stop // W.per_byte)]
        values = looked_up(table, codes, work).view(W.dtype)[: stop - start]
        scales, whole = W.absmax[start // block : -(-stop // block)], len(values) // block
        values[: whole * block].reshape(whole, block)[...] *= scales[:whole, None]
        values[whole * block :] *= scales[whole : whole + 1]
        yield rows, values.reshape(-1, n)


def at_a_time(W: Packed) -> int:
    """How many numbers may be decoded at a time."""
    return min(CHUNK, math.prod(W.shape) // PIECES)


def rows_at_once(W: Packed, chunk: int) -> int:
    """Rows whose numbers fill whole bytes and whole blocks: as many as the chunk holds, at least the fewest such."""
    m, n = W.shape
    whole = 2 if W.block == m * n else math.lcm(2, W.block)
    fewest = whole // math.gcd(whole, n)
    return min(m, fewest * max(1, chunk // (fewest * n)))


def regular(W: Packed) -> bool:
    """Does every row begin with a byte and with a block, so that columns can be cut out?"""
    m, n = W.shape
    return n % 2 == 0 and (n % W.block == 0 or W.block == m * n)


def column_blocks(W: Packed, chunk: int | None = None) -> Iterator[tuple[slice, Array]]:
    """(columns, the decoded columns) of a regular matrix, block after block, each overwriting the last."""
    (m, n), block, pack = W.shape, W.block, W.per_byte
    table, codes = pairs(W.levels), W.codes.reshape(m, -1)
    scales = W.absmax.reshape(m, -1) if block <= n else W.absmax.reshape(1, 1)
    unit = block if block < n else 2
    step = unit * max(1, (chunk or at_a_time(W)) // (unit * m))
    work = np.empty(m * min(step, n) // pack, table.dtype)
    for start in range(0, n, step):
        stop = min(start + step, n)
        values = looked_up(table, codes[:, start // pack : stop // pack], work).view(W.dtype)
        if block < n:
            values.reshape(m, -1, block)[...] *= scales[:, start // block : stop // block, None]
        else:
            values *= scales
        yield slice(start, stop), values


def pairs(levels: Array) -> Array:
    """What a byte stands for: two levels side by side as a complex number, or a level of 256.    ->(256,)"""
    if len(levels) == 256:
        return levels
    byte = np.arange(256)
    both = np.stack([levels[byte & 15], levels[byte >> 4]], axis=1)
    return both.view(np.result_type(levels, np.complex64))[:, 0]


def looked_up(table: Array, codes: Array, work: Array) -> Array:
    """table[codes], written to the workspace: a fresh array for each block takes five times as long.

    `LOOK_UP` bytes at a time, because NumPy casts every index to eight bytes.
    """
    out = work[: codes.size].reshape(codes.shape)
    step = max(1, LOOK_UP * len(codes) // codes.size)
    for start in range(0, len(codes), step):
        rows = slice(start, start + step)
        np.take(table, codes[rows], out=out[rows], mode="clip")  # a byte is never out of range; "raise" would copy
    return out


def unpacked(W: Packed) -> Array:
    """The whole matrix: for tests, pictures and a master; a worker never calls it.    Packed->(m,n)"""
    return np.concatenate([rows.copy() for _, rows in row_blocks(W)])
