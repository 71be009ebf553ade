"""Heads at a single merge, for the rules that bear with bad ones."""

import tracemalloc
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minilte.core import tree
from minilte.core.lora import ROWS, product
from minilte.core.random import stream
from minilte.core.types import Adapter, Linear, Norm, Sent

BAD = [1e9, -1e9, np.inf, np.nan]
ORDERS = st.integers(1, 8).flatmap(lambda N: st.permutations(range(N)))


class Work(NamedTuple):
    """What a rule gets to merge."""

    weights: Any
    sent: list
    then: tuple | None
    scales: list
    w: list

    def of(self, heads):
        """These heads alone, in this order, with equal shares."""
        pick = lambda values: values and [values[n] for n in heads]  # noqa: E731
        return Work(self.weights, pick(self.sent), pick(self.then), pick(self.scales), [1 / len(heads)] * len(heads))


def heads(seed, N, then=True, m=4, n=5):
    """N heads of different rank and scale, with biases and a norm."""
    draw = stream(seed, "check").standard_normal
    sizes = {"layer1": (m, n), "layer2": (3, m)}
    weights = {name: Linear(draw(size), draw(size[:1])) for name, size in sizes.items()} | {
        "norm": Norm(draw(m), draw(m))
    }

    def pairs(r):
        return {name: Adapter(draw((r, n)), draw((m, r))) for name, (m, n) in sizes.items()}

    old = tuple(pairs(1 + k % 2) for k in range(N))
    sent = []
    for factors in old:
        copies = {
            name: type(layer)(None if name in sizes else draw(m), draw(len(layer.c)))
            for name, layer in weights.items()
        }
        sent.append(Sent(tree.map(lambda leaf: leaf + 0.1 * draw(leaf.shape), factors), copies))
    scales = [{"layer1": 0.5 + k / 4, "layer2": 1.5} for k in range(N)]
    return Work(weights, sent, old if then else None, scales, [1 / N] * N)


def widened(m, n, N):
    """Heads whose first layer has this shape."""
    return heads(m, N, True, m, n)


def merge(rule, work, each=map):
    """The new weights."""
    return rule.merge(rule.init(work.weights), *work, each)[0]


def blocks_held(rule, work):
    """How much a merge allocates at most, in blocks of the first layer."""
    tracemalloc.start()
    try:
        merge(rule, work)
        return tracemalloc.get_traced_memory()[1] / work.weights["layer1"].W[:ROWS].nbytes
    finally:
        tracemalloc.stop()


def entries(work):
    """For every head its changes as dense arrays, in the order of the leaves of the weights."""
    found = []
    for k, (head, scales) in enumerate(zip(work.sent, work.scales)):
        mine = []
        for name, layer in work.weights.items():
            if name in head.factors:
                V = product(work.then[k][name]) if work.then else 0
                mine.append(scales[name] * (product(head.factors[name]) - V))
            else:
                mine.append(head.replicas[name].g - layer.g)
            mine.append(head.replicas[name].c - layer.c)
        found.append(mine)
    return found


def spread(work):
    """The smallest and the largest change of each entry, with room for rounding, as trees like the weights."""
    moves = [np.array(same) for same in zip(*entries(work))]
    like = lambda leaves: tree.map(lambda _, it=iter(leaves): next(it), work.weights)  # noqa: E731
    return like([same.min(axis=0) - 1e-12 for same in moves]), like([same.max(axis=0) + 1e-12 for same in moves])


def broken(work, n, bad):
    """The same heads, with every number that head n sends times `bad`."""
    sent = list(work.sent)
    sent[n] = tree.map(lambda leaf: leaf * bad, sent[n])
    return work._replace(sent=sent)
