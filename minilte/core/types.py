"""The values that the method is about. Every one is a NamedTuple of arrays: print it, save it, send it, compare it.

Letters are those of the paper: n inputs, m outputs, r rank, N heads, T local steps between merges.
The gradient of a value has the type of the value, with None where nothing is trained.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Tree = Any  # arrays (or None) nested in NamedTuples, tuples and dicts


class Linear(NamedTuple):
    """A dense layer, y = x W^T + c."""

    W: Array  # (m, n)
    c: Array | None  # (m,)


class Norm(NamedTuple):
    """The gain and shift of a layer norm."""

    g: Array  # (n,)
    c: Array  # (n,)


class Adapter(NamedTuple):
    """A low-rank pair; it stands for the matrix B A of rank r at most."""

    A: Array  # (r, n)
    B: Array  # (m, r)


class Adapted(NamedTuple):
    """A dense layer seen by one head: W stays, `now` is trained, `then` (V) is what W has of it already."""

    W: Array  # (m, n)
    c: Array | None  # (m,)
    s: float  # the head's scale, alpha / r
    now: Adapter
    then: Adapter | None  # None stands for V = 0


Weights = dict[str, Linear | Norm]  # the main weights, by layer name, in the order of the network
Adapters = dict[str, Adapter]  # by the name of the layer that is adapted


class Head(NamedTuple):
    """One worker's own state. Nothing in it depends on the process that holds it."""

    index: int  # 0 … N-1
    now: Adapters
    replica: Weights  # its own copy of what is trained but not adapted (biases, norms); None where not trained
    opt: Tree  # optimizer state over (now, replica)
    loss: float = float("nan")  # mean training loss over its last round


class Main(NamedTuple):
    """What all heads agree on after a merge."""

    weights: Weights
    then: tuple[Adapters | None, ...] | None  # V_n, the factors of head n at the last merge; None: V = 0
    rule: Tree = None  # what the merge rule remembers


class Sent(NamedTuple):
    """What one head sends to a merge. The names are those of the kinds of bytes that are counted."""

    factors: Adapters
    replicas: Weights


class Rule(NamedTuple):
    """A way to merge, as a pair like an optimizer: state in, state out.

    merge(state, weights, sent, then, scales, w, each) -> (weights, state); `sent`, `then` and `scales` are in head
    order, and each(f, items) maps over parts of the work, on several threads where there are some.
    """

    init: Callable[[Weights], Tree]
    merge: Callable[..., tuple[Weights, Tree]]
    bounded: bool = False  # is rank(W_t - W_0) <= sum_n r_n without resets (law L2)?
    telescopes: bool = False  # is W_t = W_0 + sum_n w_n s_n V_n without resets (law L1)?


class Task(NamedTuple):
    """What is to be learnt and how a step is taken: the same for every method."""

    net: Any  # networks.Network
    weights: Weights  # the main weights at the start
    batch: Callable[[int, int], tuple[Array, Array]]  # (head, step) -> x (b_n, n), y
    shards: tuple[float, ...]  # b_n / b, the size of a head's shard of the cumulative batch
    optimizer: Any  # optim.Optimizer
    rate: Callable[[int], float]  # step -> learning rate
    clip: float | None = None  # largest norm of a gradient
