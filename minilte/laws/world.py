"""Small training problems from plain values, so that a counterexample is a line of code."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE
from minilte.comm.solo import Solo
from minilte.core import lora, lte, networks, optim, tree
from minilte.core.head import seen
from minilte.core.lora import Plan
from minilte.core.lte import MEAN
from minilte.core.method import Meeting, Method, Round, rounds
from minilte.core.random import stream
from minilte.core.types import Adapters, Array, Head, Main, Rule, Task, Tree, Weights
from minilte.run.machine import one_blas_thread

ROUNDING = "rounding of at most a few hundred operations on numbers of size 1 to 100"
STEPS = "rounding of a dozen steps; relu is left out, where rounding can change the side of a kink"


class Case(NamedTuple):
    """Everything that a problem follows from. Float64; `seed` draws weights, adapters and samples."""

    seed: int = 0
    widths: tuple[int, ...] = (4, 3, 3)
    activation: str = "tanh"
    bias: bool = True
    loss: str = "cross-entropy"
    ranks: tuple[int, ...] = (2, 1)  # of each head, in every layer
    alpha: float = 2.0
    every: int = 2  # T
    steps: int = 6
    reset: str = "none"
    reset_optimizer: bool = False
    optimizer: str = "sgd"  # or "momentum", "nesterov", "adamw"
    lr: float = 0.05
    decay: float = 0.0
    samples: int = 3  # of a head at a step
    data: str = "own"  # of a head, drawn alike for all; "same" for all; "unlike", about a place of each head's own

    @property
    def heads(self) -> int:
        """N."""
        return len(self.ranks)


class Variant(NamedTuple):
    """What is on trial: put your own rule here and see which laws it breaks."""

    rule: Rule = MEAN


class World(NamedTuple):
    """A case with its network, samples and adapters."""

    case: Case
    task: Task
    plan: Plan

    def method(self, variant: Variant = Variant(), **changes) -> Method:
        """The case's LTE with the rule on trial; `changes` are other arguments of `lte.lte`."""
        case = self.case
        settings = dict(every=case.every, reset=case.reset, reset_optimizer=case.reset_optimizer, rule=variant.rule)
        return lte.lte(self.task, self.plan, **(settings | changes))

    def eyes(self, main: Main, head: Head) -> dict:
        """The network's parameters as a head computes with them."""
        return seen(main.weights, head.now, head.replica, V(main, head.index), self.plan.scales[head.index])


def V(main: Main, n: int) -> Adapters | None:
    """The factors of head n at the last merge; None stands for V_n = 0."""
    return None if main.then is None else main.then[n]


def optimizer(name: str, decay: float = 0.0, eps: float = 1e-8) -> optim.Optimizer:
    """The optimizer of a case: sgd, momentum, nesterov (coupled decay) or adamw (decoupled)."""
    if name == "adamw":
        return optim.adamw(eps=eps, weight_decay=decay)
    return optim.sgd({"sgd": 0.0, "momentum": 0.9, "nesterov": 0.9}[name], name == "nesterov", decay)


def build(case: Case) -> World:
    """Network, samples and adapters of a case; A is Gaussian and B starts at zero."""
    net = networks.mlp(case.widths, case.activation, bias=case.bias, loss=case.loss)
    weights = networks.init_weights(net, case.seed, "float64")
    rate = lambda step: case.lr / (1 + 0.1 * step)  # noqa: E731  not constant: a law must not lean on that
    shards = (1 / case.heads,) * case.heads
    task = Task(net, weights, batches(case), shards, optimizer(case.optimizer, case.decay), rate)
    ranks = [dict.fromkeys(weights, rank) for rank in case.ranks]
    return World(case, task, lora.plan(weights, ranks, case.alpha, init="gaussian", seed=case.seed))


def batches(case: Case):
    """(head, step) -> x, y: random inputs, and labels or targets that do not depend on them."""

    def batch(head: int, step: int):
        key = (0 if case.data == "same" else head, step)
        x = stream(case.seed, "batch", *key).standard_normal((case.samples, case.widths[0]))
        if case.data == "unlike":
            x = (x + stream(case.seed, "noise", head).standard_normal(case.widths[0])) / math.sqrt(2)
        draw = stream(case.seed, "synthetic", *key)
        if case.loss == "cross-entropy":
            return x, draw.integers(0, case.widths[-1], case.samples)
        return x, draw.standard_normal((case.samples, case.widths[-1]))

    return batch


def whole(task: Task, heads: int):
    """The batches of all heads, concatenated."""
    return lambda _, step: tuple(map(np.concatenate, zip(*(task.batch(n, step) for n in range(heads)))))


def run(method: Method, heads: int, steps: int, transport=None, meeting: Meeting = EVERYONE) -> list[Round]:
    """All rounds of a method from its start, on one process or on a transport."""
    comm = Communicator(transport or Solo(), heads)
    with one_blas_thread():
        return list(rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], steps))


def weights_along(method: Method, heads: int, steps: int) -> list[Weights]:
    """The dense weights at the start and after every merge."""
    mains = [done.main for done in run(method, heads, steps)]
    with one_blas_thread():
        return [method.weights(main) for main in (method.begin(), *mains)]


def alike(plan: Plan) -> Plan:
    """The plan with the adapters of the first head for all heads."""
    return plan._replace(shape=lambda n: plan.shape(0), draw=lambda n, step: plan.draw(0, step))


def first_head(plan: Plan) -> Plan:
    """The plan of the first head alone."""
    return plan._replace(ranks=plan.ranks[:1], scales=plan.scales[:1])


def moved_plan(plan: Plan, seed: int, size: float = 0.5) -> Plan:
    """The plan with random B: adapters as in the middle of a run."""

    def draw(n, step):
        rng, drawn = stream(seed, "check", n, step), plan.draw(n, step)
        return {name: pair._replace(B=size * rng.standard_normal(pair.B.shape)) for name, pair in drawn.items()}

    return plan._replace(draw=draw)


def gap(got: Tree, expected: Tree) -> float:
    """Largest difference between two trees, relative to the largest number expected (or to 1)."""
    scale = max((float(np.max(np.abs(leaf), initial=0.0)) for leaf in tree.leaves(expected)), default=0.0)
    return difference(got, expected) / max(1.0, scale)


def apart(path: Sequence[Tree], other: Sequence[Tree]) -> float:
    """Largest difference between two paths of weights, relative to the distance that the second path covers.

    Relative to the distance and not to the weights: a small step in a wrong direction must not hide behind large
    weights. The distance counts as 1e-6 at least, so that the rounding of weights of size 1 stays below 1e-9.
    """
    path, other = list(path), list(other)
    far = max((difference(there, other[0]) for there in other), default=0.0)
    return worst([difference(a, b) for a, b in zip(path, other, strict=True)]) / max(far, 1e-6)


def same_path(method, other, heads: int, steps: int) -> float:
    """The largest gap between two methods' dense weights along the way."""
    return apart(weights_along(method, heads, steps), weights_along(other, heads, steps))


def difference(a: Tree, b: Tree) -> float:
    """Largest absolute difference between the arrays of two trees; infinite where it is NaN."""
    pairs = zip(tree.leaves(a), tree.leaves(b), strict=True)
    return worst([float(np.max(np.abs(p - q), initial=0.0)) for p, q in pairs])


def worst(errors: Sequence[float]) -> float:
    """The largest of some errors; NaN counts as infinite."""
    return max((float("inf") if np.isnan(error) else error for error in errors), default=0.0)


def uneven(N: int) -> list[float]:
    """Shares 1 : 2 : … : N of sum 1."""
    return list(np.arange(1.0, N + 1) / (N * (N + 1) / 2))


def dense(adapters: Adapters, scales: dict[str, float]) -> dict[str, Array]:
    """s B A of every layer, as matrices."""
    return {name: scales[name] * lora.product(pair) for name, pair in adapters.items()}


def matrices(weights: Weights) -> dict[str, Array]:
    """The W of every layer."""
    return {name: layer.W for name, layer in weights.items()}
