"""The measured training step, and the matrix products that every implementation needs."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE
from minilte.comm.solo import Solo
from minilte.core import lora, lte, networks
from minilte.core import method as loop
from minilte.core.method import Method
from minilte.core.random import stream
from minilte.core.types import Task
from minilte.methods.bases import Bases, Basis
from minilte.methods.on_bases import shared_basis
from minilte.optimizers.orthonormal import orthonormal
from minilte.steps.adamw import adamw
from minilte.steps.stacked import stacked_steps


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
    """AdamW in float32 on the same samples at every step."""
    net = networks.mlp(size.widths, bias=bias)
    weights = networks.init_weights(net, 0)
    x, y = samples(size)
    blocks = np.array_split(np.arange(size.batch), size.heads)
    batches = [(x[block[0] : block[-1] + 1], y[block[0] : block[-1] + 1]) for block in blocks]
    shards = tuple(len(block) / size.batch for block in blocks)
    return Task(net, weights, lambda head, step: batches[head], shards, adamw(), lambda step: 1e-4)


def method(size: Size, made: Task, stack: int = 1, **changes) -> Method:
    """LTE of this size on a task, `stack` heads of a process stacked; `changes` are arguments of `lte.lte`."""
    plan = lora.plan(made.weights, [dict.fromkeys(made.weights, size.rank)] * size.heads, 16.0)
    found = lte.lte(made, plan, size.every, **changes)
    return found if stack == 1 else found._replace(together=stacked_steps(stack, made, plan, [1.0] * size.heads))


def rounds(size: Size, threads: int = 2, comm: Communicator | None = None, **changes) -> Callable[[], object]:
    """A function that trains a round of LTE, T steps and a merge, at every call."""
    return turns(method(size, task(size), **changes), size.heads, threads, comm)


def on_bases(size: Size, threads: int = 2, side: str = "a", keep: int = 4) -> Callable[[], object]:
    """The same round of the shared basis, at the same rank where a layer has it; the other layers are replicas."""
    made = task(size)
    ranks = {name: size.rank for name, layer in made.weights.items() if size.rank <= min(layer.W.shape)}
    bases = Bases(Basis(ranks, size.every, keep, side, 0), made.weights)
    return turns(shared_basis(made, made.shards, bases, orthonormal(0.95)), size.heads, threads)


def turns(made: Method, heads: int, threads: int = 2, comm: Communicator | None = None) -> Callable[[], object]:
    """A function that trains a round of a method at every call."""
    comm = comm or Communicator(Solo(), heads, threads)
    done = loop.rounds(made, comm, EVERYONE, made.begin(), [made.enter(n) for n in comm.mine], 10**9)
    return lambda: next(done)


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
        work.append((a, b, round(times * size.every)))
    outs = [[np.empty((a.shape[0], b.shape[1]), np.float32) for a, b, _ in work] for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def multiply(thread):
        for (a, b, times), out in zip(work, outs[thread]):
            for i in range(times):
                if i % threads == thread:
                    np.matmul(a, b, out=out)

    return lambda: list(pool.map(multiply, range(threads)))
