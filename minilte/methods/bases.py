"""Bases that all heads know from a seed, and a layer with a factor beside one, on either side.

    side b   W + B Q      B of m x r is trained, Q of r x n has orthonormal rows
    side a   W + Q^T A    A of r x n is trained, Q of r x m has orthonormal rows

Q is drawn from (seed, "basis", layer, period), of a normal matrix by QR: its rows span every subspace alike.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.core import networks
from minilte.core.layers import rows
from minilte.core.random import stream
from minilte.core.types import Array, Tree, Weights

Factors = dict[str, Array]  # by layer


class Right(NamedTuple):
    """A dense layer with a factor B beside a basis on its right, W + B Q."""

    W: Array  # (m, n)
    c: Array | None  # (m,)
    factor: Array  # B, (m, r)
    Q: Array  # (r, n)


class Left(NamedTuple):
    """A dense layer with a factor A beside a basis on its left, W + Q^T A."""

    W: Array  # (m, n)
    c: Array | None  # (m,)
    factor: Array  # A, (r, n)
    Q: Array  # (r, m)


def right(x: Array, W: Array, c: Array | None, B: Array, Q: Array):
    """y = x (W + B Q)^T + c.    (b,n),(m,n),(m),(m,r),(r,n)->(b,m)    In the first step of a round B is zero."""
    y, h = x @ W.T, x @ Q.T  # h: (b, r)
    if B.any():
        y += h @ B.T
    if c is not None:
        y += c
    return y, (x, h, W, c, B, Q)


def right_back(dy: Array, cache, wrt_x: bool = True):
    """dx, None (W is frozen), dc, dB, None (Q is a constant). dW = dy^T x is never formed."""
    x, h, W, c, B, Q = cache
    # forward: y = x W^T + c + (x Q^T) B^T
    dx = dy @ W if wrt_x else None
    if wrt_x and B.any():
        dx += (dy @ B) @ Q
    dB = rows(dy).T @ rows(h)
    dc = None if c is None else rows(dy).sum(axis=0)
    return dx, None, dc, dB, None


def left(x: Array, W: Array, c: Array | None, A: Array, Q: Array):
    """y = x (W + Q^T A)^T + c.    (b,n),(m,n),(m),(r,n),(r,m)->(b,m)    In the first step of a round A is zero."""
    y = x @ W.T
    if A.any():
        y += (x @ A.T) @ Q
    if c is not None:
        y += c
    return y, (x, W, c, A, Q)


def left_back(dy: Array, cache, wrt_x: bool = True):
    """dx, None (W is frozen), dc, dA, None (Q is a constant). dW = dy^T x is never formed."""
    x, W, c, A, Q = cache
    u = dy @ Q.T  # (b, r)
    # forward: y = x W^T + c + (x A^T) Q
    dx = dy @ W if wrt_x else None
    if wrt_x and A.any():
        dx += u @ A
    dA = rows(u).T @ rows(x)
    dc = None if c is None else rows(dy).sum(axis=0)
    return dx, None, dc, dA, None


networks.PAIRS |= {Right: (right, right_back), Left: (left, left_back)}


class Basis(NamedTuple):
    """Which bases there are: ranks by layer, how long each is kept, on which side, from which seed."""

    ranks: dict[str, int]
    every: int  # T
    keep: int  # K
    side: str  # "a", "b", or "alternating", which begins with b
    seed: int

    def period(self, step: int) -> int:
        """p of the round that begins at a step."""
        return step // self.every // self.keep

    def on_right(self, period: int) -> bool:
        """Does the basis stand to the right of the factor, as in B Q?"""
        return self.side == "b" or (self.side == "alternating" and period % 2 == 0)


def keyed(seed: int, number: int, period: int, shape: tuple[int, int]) -> Array:
    """Normal numbers of (seed, layer, period)."""
    return stream(seed, "basis", number, period).standard_normal(shape)


class Bases:
    """The bases of a network's layers, drawn when they are asked for; `normal(layer's number, period, shape)` is what of."""

    def __init__(self, basis: Basis, weights: Weights, normal: Callable[[int, int, tuple], Array] | None = None):
        self.of, self.numbers = basis, {name: number for number, name in enumerate(weights)}
        self.like = {name: weights[name].W for name in basis.ranks}
        self.normal = normal or (lambda number, period, shape: keyed(basis.seed, number, period, shape))
        self.draw = functools.lru_cache(maxsize=3)(self.drawn)  # all heads ask for that of a round, then of the next

    def drawn(self, period: int) -> Factors:
        """Q of every layer, with orthonormal rows, in the dtype of its matrix."""
        found = {}
        for name, r in self.of.ranks.items():
            normal = self.normal(self.numbers[name], period, (self.long(name, period), r))
            found[name] = np.ascontiguousarray(np.linalg.qr(normal)[0].T.astype(self.like[name].dtype))
        return found

    def blank(self, period: int) -> Factors:
        """Templates of the bases, undrawn."""
        zero = lambda name: np.zeros((), self.like[name].dtype)  # noqa: E731
        return {name: np.broadcast_to(zero(name), (r, self.long(name, period))) for name, r in self.of.ranks.items()}

    def long(self, name: str, period: int) -> int:
        """The length of the rows of Q: n on the right of a factor, m on the left."""
        return self.like[name].shape[1 if self.of.on_right(period) else 0]

    def beside(self, period: int) -> type:
        """The layer with a factor: Right or Left."""
        return Right if self.of.on_right(period) else Left

    def zeros(self, period: int) -> Factors:
        """The factors with which a round begins."""
        made = {}
        for name, r in self.of.ranks.items():
            m, n = self.like[name].shape
            made[name] = np.zeros((m, r) if self.of.on_right(period) else (r, n), self.like[name].dtype)
        return made

    def product(self, factors: Factors, period: int) -> Factors:
        """B Q, or Q^T A, of each layer: m x n."""
        right, Q = self.of.on_right(period), self.draw(period)
        return {name: factor @ Q[name] if right else Q[name].T @ factor for name, factor in factors.items()}

    def turned(self, factors: Factors, old: int, new: int) -> Factors:
        """What factors of one period are in the basis of another: B Q Q_new^T, or Q_new Q^T A, and across the sides alike."""
        right, Q = self.of.on_right(new), self.draw(new)
        whole = self.product(factors, old)
        return {name: D @ Q[name].T if right else Q[name] @ D for name, D in whole.items()}

    def at_rest(self, factors: Factors) -> Factors:
        """What is kept of factors between rounds: of sides in turn a vector that is long enough for either, else as they are."""
        if self.of.side != "alternating":
            return factors
        rest = {}
        for name, factor in factors.items():
            rest[name] = np.zeros(self.of.ranks[name] * max(self.like[name].shape), factor.dtype)
            rest[name][: factor.size] = factor.reshape(-1)
        return rest

    def at_work(self, rest: Factors, like: Factors) -> Factors:
        """Factors, in the shapes of others, out of what was kept of them."""
        if self.of.side != "alternating":
            return rest
        return {name: rest[name][: other.size].reshape(other.shape) for name, other in like.items()}


def every_part(state: Tree, f: Callable[[Factors], Factors]) -> Tree:
    """An optimizer's state with f of each part that is shaped like the factors."""
    return type(state)(*(f(part) if isinstance(part, dict) else part for part in state))
