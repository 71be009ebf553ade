"""The values that the method is about. Every one is a NamedTuple of arrays: print it, save it, send it, compare it.

Letters are those of the paper: n inputs, m outputs, r rank, N heads, T local steps between merges.
The gradient of a value has the type of the value, with None where nothing is trained.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

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
    """One worker's own state. Nothing in it depends on the rank (process) that holds it."""

    index: int  # 0 … N-1
    now: Adapters
    then: Adapters | None  # factors at the last merge; None: V = 0
    replica: Weights  # its own copy of what is trained but not adapted (biases, norms); None where not trained
    opt: Tree  # optimizer state over (now, replica)
    loss: float = float("nan")  # mean training loss over its last round


class Main(NamedTuple):
    """What all heads agree on after a merge."""

    weights: Weights
    then: tuple[Adapters, ...] | None  # every head's factors at the last merge, in head order; None: V = 0
    rule: Tree = None  # what the merge rule remembers
    trust: Array | None = None  # (N,) how much of each head counted at the last merge; None: all of all


class Sent(NamedTuple):
    """What one head contributes to a merge. The names are those of the kinds of bytes that are counted."""

    factors: Adapters
    replicas: Weights


Batch = Callable[[int, int], tuple[Array, Array]]  # (head, step) -> x (b_n, n), y


class Rule(NamedTuple):
    """A way to merge, as a pair like an optimizer: state in, state out.

    merge(state, weights, sent, then, scales, w, each) -> (weights, state); `sent`, `then` and `scales` are in head
    order, and each(f, items) maps over parts of the work, on several threads where there are some.
    """

    init: Callable[[Weights], Tree]
    merge: Callable[..., tuple[Weights, Tree]]


class Guard(NamedTuple):
    """What is done about heads that are not sound."""

    begin: Callable[[int], Array | None]  # N -> trust before the first merge
    check: Callable[..., tuple[Sequence[Sent], Array | None]]  # (sent, main, scales, each) -> what counts, trust
    recover: Callable[
        ..., tuple[Head, Adapters]
    ]  # (task, head, trust, factors as sent, fresh factors) -> head, its V


class Merging(NamedTuple):
    """What a topology needs to know of a method to merge."""

    rule: Rule
    scales: tuple[dict[str, float], ...]  # of each head: adapted layer -> s
    w: Sequence[float]  # the heads' shares
    like: Sequence[Sent]  # the shapes of what each head contributes
    keep: bool  # are the factors remembered as V?
    guard: Guard


class Topology(NamedTuple):
    """Who hears what at a merge, and so who merges."""

    share: Callable[["Comm", Main, int], Tree]  # (comm, main, step) -> what this rank keeps of it
    merge: Callable[..., tuple[Tree, list[float]]]  # (comm, main, heads, step, Merging) -> main, losses of all heads
    whole: Callable[[Tree], Main]  # what rank 0 keeps -> main as it was before `share`
    as_sent: Callable[[Adapters], Adapters]  # factors as the others get to know them
    remembers: bool = True  # is every V_n in the main state?


class Task(NamedTuple):
    """What is to be learnt and how a step is taken: the same for every method."""

    net: Any  # networks.Network
    weights: Weights  # the main weights at the start
    batch: Batch
    shares: tuple[float, ...]  # b_n / b, a head's part of the cumulative batch
    optimizer: Any  # optim.Optimizer
    rate: Callable[[int], float]  # step -> learning rate
    clip: float | None = None  # largest norm of a gradient


class Method(NamedTuple):
    """A training method as a choice of parts; the loop in `minilte.core.lte` needs nothing else.

    `main` and `head` are whatever the method makes of them: the loop only passes them on.
    """

    every: int  # T, the local steps of a round
    begin: Callable[[], Tree]  # () -> main
    enter: Callable[[int], Tree]  # index -> head
    share: Callable[["Comm", Tree, int], Tree]  # (comm, main, step) -> what this rank keeps of main
    local: Callable[
        ..., list[Tree]
    ]  # (main, heads, start, stop, each) -> the heads after those steps, with their losses
    merge: Callable[["Comm", Tree, Sequence[Tree], int], tuple[Tree, list[float]]]  # -> (main, losses of all heads)
    restart: Callable[[Tree, Tree, int], Tree]  # (main, head, step) -> head
    whole: Callable[[Tree], Tree]  # what rank 0 keeps of main -> main as `begin` makes it
    params: Callable[[Tree], dict]  # main -> the network's parameters, to evaluate
    dense: Callable[[Tree], Weights]  # main -> one dense matrix a layer, to save


class Round(NamedTuple):
    """What leaves the loop after every merge."""

    step: int  # local steps done so far, the same for every head
    main: Tree
    heads: list[Tree]  # the heads of this rank
    losses: list[float]  # of all heads, in head order


class Comm(Protocol):
    """The only way heads hear of each other. An implementation is free to hold any number of them a process."""

    heads: int  # N
    mine: range  # the heads that live here

    def each(self, f: Callable[[Tree], Tree], heads: Sequence[Tree]) -> list[Tree]:
        """f of every item, in order, on several threads where there are some: of heads, or of parts of a merge."""

    def gather(self, trees: Sequence[Tree], like: Sequence[Tree], notes: Sequence[float]) -> tuple[list, list]:
        """Every head's tree and note, in head order; `like` gives the shapes of all N."""

    def sum(self, kind: str, trees: Sequence[Tree], notes: Sequence[float]) -> tuple[Tree, list]:
        """The sum of every head's tree, added in head order, and every head's note. `kind` names what is sent."""


Rounds = Iterator[Round]
