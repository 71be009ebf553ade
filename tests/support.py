"""Small problems that several tests train on; it needs nothing but the core."""

import math

import numpy as np

from minilte.core import lora, networks, optim, tree
from minilte.core.method import Meeting, rounds
from minilte.core.random import stream
from minilte.core.types import Task

WIDTHS, B, STEPS, SEED = [5, 6, 4, 3], 8, 50, 3
RANKS = [2, 3, 1]  # of the three heads; the last layer has min(m, n) = 3


def make_task(optimizer, lr, share="own", clip=None, loss="cross-entropy", heads=len(RANKS)):
    net = networks.mlp(WIDTHS, "tanh", loss=loss)
    weights = networks.init_weights(net, SEED, "float64")
    x = stream(SEED, "check").standard_normal((STEPS, B, WIDTHS[0]))
    if loss == "cross-entropy":
        y = stream(SEED, "check", 1).integers(0, WIDTHS[-1], (STEPS, B))
    else:
        y = stream(SEED, "check", 1).standard_normal((STEPS, B, WIDTHS[-1]))
    blocks = np.array_split(np.arange(B), heads)

    def batch(head, step):
        rows = blocks[head] if share == "own" else slice(None)
        return x[step][rows], y[step][rows]

    shards = tuple(len(block) / B for block in blocks)
    climb = round(0.1 * STEPS)

    def rate(step):
        """Up in equal steps, then down half a cosine."""
        if step < climb:
            return lr * ((step + 1) / climb)
        return lr * 0.5 * (1.0 + math.cos(math.pi * (step - climb) / (STEPS - climb)))

    task = Task(net, weights, batch, shards, optimizer, rate, clip)
    return task, (lambda step: (x[step], y[step]))


def make_plan(task, ranks=RANKS):
    return lora.plan(task.weights, [dict.fromkeys(task.weights, r) for r in ranks], alpha=2.0, seed=SEED)


def as_lists(weights):
    return [(layer.W, layer.c) for layer in weights.values()]


class Alone:
    """The communicator of the core's protocol in its plainest form: every head is here."""

    def __init__(self, heads):
        self.heads, self.mine = heads, range(heads)

    def each(self, f, items):
        return [f(item) for item in items]


def hear_all(comm, method, main, shown, heads, step):
    said = [method.tell(head) for head in heads]
    said = tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *said) if method.adds else said
    main = method.merge(main, said, step, comm.each)
    return main, main, heads, [head.loss for head in heads]


TOGETHER = Meeting(lambda comm, method, main, step: (main, main), hear_all)


def trajectory(method, heads, steps=STEPS):
    comm = Alone(heads)
    done = rounds(method, comm, TOGETHER, method.begin(), [method.enter(n) for n in comm.mine], steps)
    return [as_lists(method.weights(one.main)) for one in done]


def assert_same(got, expected):
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected):
        for (W, c), (W_true, c_true) in zip(mine, theirs):
            # 1e-10: 50 steps of rounding, amplified by Adam's division where a gradient is small
            np.testing.assert_allclose(W, W_true, rtol=0, atol=1e-10)
            np.testing.assert_allclose(c, c_true, rtol=0, atol=1e-10)


OPTIMIZERS = {
    "sgd": (optim.sgd(), 0.05, {}),
    "momentum": (optim.sgd(0.9, True, 0.01), 0.02, dict(momentum=0.9, nesterov=True, decay=0.01)),
    "adamw": (optim.adamw(weight_decay=0.1), 0.01, dict(optimizer="adamw", decay=0.1)),
}
