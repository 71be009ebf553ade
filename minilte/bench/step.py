"""The training step that is measured, and the products that no implementation can do without."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.comm.communicator import Ranks
from minilte.comm.solo import Solo
from minilte.core import lora, lte, networks, optim
from minilte.core.random import stream
from minilte.core.types import Method, Task


class Size(NamedTuple):
    """A problem to time."""

    widths: tuple[int, ...] = (784, 1024, 1024, 10)
    batch: int = 4096  # over all heads
    heads: int = 8
    rank: int = 8
    every: int = 1  # T

    def __str__(self):
        return f"{'-'.join(map(str, self.widths))}, batch {self.batch}, {self.heads} heads, r {self.rank}, T {self.every}"


def samples(size: Size):
    """x (batch, n) and labels (batch,), float32 and int64."""
    draw = stream(0, "check")
    x = draw.standard_normal((size.batch, size.widths[0])).astype(np.float32)
    return x, draw.integers(0, size.widths[-1], size.batch)


def task(size: Size, bias: bool = True) -> Task:
    """AdamW in float32 on the same samples again and again."""
    net = networks.mlp(size.widths)
    weights = networks.init_weights(net, size.widths, 0, bias=bias)
    x, y = samples(size)
    blocks = np.array_split(np.arange(size.batch), size.heads)
    parts = [(x[block[0] : block[-1] + 1], y[block[0] : block[-1] + 1]) for block in blocks]
    shares = tuple(len(block) / size.batch for block in blocks)
    return Task(net, weights, lambda head, step: parts[head], shares, optim.adamw(), lambda step: 1e-4)


def method(size: Size, made: Task, **parts) -> Method:
    """LTE of this size on a task."""
    ranks = [dict.fromkeys(made.weights, size.rank)] * size.heads
    return lte.lte(made, lora.plan(made.weights, ranks, 16.0), size.every, **parts)


def rounds(size: Size, threads: int = 2, comm: Ranks | None = None, **parts) -> Callable[[], object]:
    """A function that trains one round of LTE, T steps and a merge, every time it is called."""
    made = method(size, task(size), **parts)
    comm = comm or Ranks(Solo(), size.heads, threads)
    loop = lte.rounds(made, comm, made.begin(), [made.enter(n) for n in comm.mine], 10**9)
    return lambda: next(loop)


def shapes(size: Size) -> list[tuple[int, int, int, float]]:
    """(rows, inner, columns, times a step) of every matrix product in a step of all heads, merge amortised.

    Forward x W^T and x A^T and (x A^T) B^T; backward dy W (not for the first layer), dy B, u A, dA and dB; the merge.
    """
    b, r, N = size.batch // size.heads, size.rank, size.heads
    products = []
    for i, (n, m) in enumerate(zip(size.widths, size.widths[1:])):
        k = min(r, m, n)
        products += [(b, n, m, N), (b, n, 2 * k, N), (b, 2 * k, m, N), (b, m, 2 * k, N), (k, b, n, N), (m, b, k, N)]
        products += [(b, m, n, N), (b, 2 * k, n, N)] if i else []
        products += [(m, 2 * k * N, n, 1 / size.every)]
    return products


def products(size: Size, threads: int = 2) -> Callable[[], object]:
    """A function that computes exactly these products, on preallocated memory, split over threads: the floor of a step."""
    from concurrent.futures import ThreadPoolExecutor

    draw = stream(0, "check")
    work = []
    for rows, inner, columns, times in shapes(size):
        a = draw.standard_normal((rows, inner)).astype(np.float32)
        b = draw.standard_normal((columns, inner)).astype(np.float32).T
        work.append((a, b, max(1, round(times * size.every))))
    outs = [[np.empty((a.shape[0], b.shape[1]), np.float32) for a, b, _ in work] for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def part(one):
        for (a, b, times), out in zip(work, outs[one]):
            mine = times * size.every if times == size.heads else times
            for i in range(mine):
                if i % threads == one:
                    np.matmul(a, b, out=out)

    return lambda: list(pool.map(part, range(threads)))
