"""Adapter algebra: what a low-rank pair stands for, how pairs add up, how they start."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Adapter, Adapters, Array, Weights


def product(adapter: Adapter) -> Array:
    """The dense m x n matrix B A. For reading and tests; nothing in training forms it.    ((r,n),(m,r))->(m,n)"""
    return adapter.B @ adapter.A


def stack(adapters: Sequence[Adapter], scales: Sequence[float]) -> Adapter:
    """sum_n s_n B_n A_n as one adapter: [s_1 B_1 … s_N B_N] [A_1; …; A_N] (law L5).

    Shapes: ((r_n,n),(m,r_n)),()->((sum r,n),(m,sum r)).
    """
    A = np.concatenate([adapter.A for adapter in adapters])
    B = np.concatenate([s * adapter.B for s, adapter in zip(scales, adapters, strict=True)], axis=1)
    return Adapter(A, B)


ROWS = 256  # of a block of the product; fixed, so that the bits do not depend on who computes which block


def plus_products(W: Array, pairs: Sequence[Adapter], scales: Sequence[float], each: Callable = map) -> Array:
    """W + sum_n s_n B_n A_n, as a new array, block of rows by block of rows; `each` maps over the blocks.

    Shapes: (m,n),((r_n,n),(m,r_n)),()->(m,n). A block is one product, of its rows of the stacked factors (law L5).
    """
    new, A = np.empty_like(W), np.concatenate([pair.A for pair in pairs])

    def block(start):
        rows = slice(start, start + ROWS)
        B = np.concatenate([s * pair.B[rows] for s, pair in zip(scales, pairs, strict=True)], axis=1)
        np.matmul(B, A, out=new[rows])
        new[rows] += W[rows]

    list(each(block, range(0, len(W), ROWS)))
    return new


def adapter_shapes(asked: int, W: Array) -> tuple[tuple[int, int], tuple[int, int]]:
    """The shapes of A and B for a rank asked for; r = min(rank, m, n), more would be redundant.    ->(r,n),(m,r)"""
    (m, n), r = W.shape, min(asked, *W.shape)
    return (r, n), (m, r)


def scale(alpha: float, rank: int, scaling: str = "rank") -> float:
    """s = alpha / r, or alpha / sqrt(r), r the rank asked for.

    >>> scale(4096.0, 64), scale(4096.0, 64, "sqrt-rank")
    (64.0, 512.0)
    """
    return alpha / {"rank": rank, "sqrt-rank": math.sqrt(rank)}[scaling]


def semi_orthogonal(rng: np.random.Generator, r: int, n: int) -> Array:
    """r orthonormal rows in R^n, uniformly distributed (QR of a Gaussian matrix, signs fixed).    ->(r,n), r <= n"""
    q, upper = np.linalg.qr(rng.standard_normal((n, r)))
    return np.ascontiguousarray((q * np.sign(np.diag(upper))).T)


INITS = {
    # semi-orthogonal times sqrt(d_out / d_in) of A itself (the paper, after Bernstein et al.)
    "bernstein": lambda rng, r, n: semi_orthogonal(rng, r, n) * math.sqrt(r / n),
    # the authors' code has the ratio the other way round: an alpha for one init does not carry over to the other
    "official": lambda rng, r, n: semi_orthogonal(rng, r, n) * math.sqrt(n / r),
    # as LoRA's own code, with a = sqrt 5: the bound is 1 / sqrt n
    "kaiming": lambda rng, r, n: rng.uniform(-(b := math.sqrt(6 / n) / math.sqrt(1 + 5)), b, (r, n)),
    "xavier": lambda rng, r, n: rng.uniform(-(b := math.sqrt(6 / (n + r))), b, (r, n)),
    "gaussian": lambda rng, r, n: rng.standard_normal((r, n)) / math.sqrt(n),
}


def init_adapters(
    weights: Weights, ranks: dict[str, int], init: str, seed: int, head: int, step: int = 0
) -> Adapters:
    """Fresh adapters: B = 0, A drawn by `init` from the stream of (seed, head, step), in float64 and then cast.

    `ranks` names the layers to adapt and the rank asked for in each; r = min(rank, m, n).
    """
    rng, adapters = stream(seed, "adapter", head, step), {}
    for name, asked in ranks.items():
        W = weights[name].W
        of_A, of_B = adapter_shapes(asked, W)
        adapters[name] = Adapter(INITS[init](rng, *of_A).astype(W.dtype), np.zeros(of_B, W.dtype))
    return adapters


class Plan(NamedTuple):
    """How the adapters of N heads look; two heads may differ in rank, in every layer."""

    ranks: tuple[dict[str, int], ...]  # of each head: adapted layer -> rank asked for
    scales: tuple[dict[str, float], ...]  # of each head: adapted layer -> s
    shape: Callable[[int], Adapters]  # head -> adapters of the right shapes, without their numbers
    draw: Callable[[int, int], Adapters]  # (head, step) -> fresh adapters


def plan(
    weights: Weights,
    ranks: Sequence[dict[str, int]],
    alpha: float,
    scaling: str = "rank",
    init: str = "bernstein",
    seed: int = 0,
    head_init: str = "own",
) -> Plan:
    """The plan of heads with the given ranks: s = alpha / rank (or its root), A by `init`, own or the same for all."""

    def shape(n):
        zero = np.zeros((), weights[next(iter(ranks[n]))].W.dtype)
        return {
            name: Adapter(*(np.broadcast_to(zero, size) for size in adapter_shapes(asked, weights[name].W)))
            for name, asked in ranks[n].items()
        }

    def draw(n, step):
        return init_adapters(weights, ranks[n], init, seed, n if head_init == "own" else 0, step)

    scales = tuple({name: scale(alpha, asked, scaling) for name, asked in head.items()} for head in ranks)
    return Plan(tuple(ranks), scales, shape, draw)


def refuse_dead(adapters: Adapters) -> None:
    """A = B = 0 has zero gradient for ever (law L7). Raises BadInput."""
    for name, adapter in adapters.items():
        if not (adapter.A.any() or adapter.B.any()):
            raise BadInput(f"adapter of {name}: A and B are both zero, so no gradient ever moves them; draw A anew")
