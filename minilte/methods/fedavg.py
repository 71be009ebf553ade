"""FedAvg: local steps on all weights, averaged; with an outer Nesterov step along the average, DiLoCo.

    theta_n: T local steps from theta;   average = sum_n w_n theta_n
    FedAvg   theta <- average                                         (McMahan et al. 2017, algorithm 1)
    DiLoCo   d = theta - average, buf <- mu buf + d, theta <- theta - eta (d + mu buf)   (Douillard et al. 2023)

Every head keeps its inner optimizer state across rounds. DiLoCo with eta = 1, mu = 0 is FedAvg (law L28).
"""

from collections.abc import Sequence
from typing import NamedTuple

from minilte.core import tree
from minilte.core.head import descend
from minilte.core.method import Method
from minilte.core.optim import sgd
from minilte.core.types import Task, Tree, Weights
from minilte.methods.facts import Facts
from minilte.methods.lte import MERGE_EVERY
from minilte.rules.outer import OUTER_MOMENTUM, OUTER_RATE, toward
from minilte.settings.part import part


class Averaged(NamedTuple):
    """The main weights, and what the outer step remembers; None without."""

    weights: Weights
    outer: Tree


class Worker(NamedTuple):
    """A head with all weights of its own."""

    index: int
    weights: Weights
    opt: Tree
    loss: float = float("nan")


def fedavg(
    task: Task, w: Sequence[float], every: int, outer_rate: float = 1.0, outer_momentum: float = 0.0
) -> Method:
    """FedAvg of heads with shares w, in a run their parts of the data; another outer rate, or momentum, makes it DiLoCo."""
    plain, outer = (outer_rate, outer_momentum) == (1.0, 0.0), sgd(outer_momentum, nesterov=True)

    def local(main, head, start, stop):
        weights, opt, loss = descend(
            task, lambda weights: weights, lambda grads, _: grads, head.weights, head.opt, head.index, start, stop
        )
        return Worker(head.index, weights, opt, loss)

    def merge(main, said, step, each):
        average = said["weights"]
        if plain:
            return Averaged(average, None)
        return Averaged(*toward(outer, main.weights, average, main.outer, outer_rate))

    def held(main, head, all_heads):
        weights, memory = (main.weights, head.weights), main.outer if all_heads else None
        return {"weights": weights, "rule": memory, "gradients": head.weights, "optimizer": head.opt}

    return Method(
        every=every,
        begin=lambda: Averaged(task.weights, None if plain else outer.init(task.weights)),
        enter=lambda n: Worker(n, task.weights, task.optimizer.init(task.weights)),
        local=local,
        tell=lambda head: {"weights": tree.map(lambda leaf: w[head.index] * leaf, head.weights)},
        like=lambda n, main, step: {"weights": tree.blank(task.weights)},
        merge=merge,
        hear=lambda main, head, step: head._replace(weights=main.weights),
        weights=lambda main: main.weights,
        show=lambda main, step: {"weights": main.weights},
        frame=lambda: {"weights": tree.blank(task.weights)},
        view=lambda shown, before, said: Averaged(shown["weights"], None),
        adds=True,
        facts=Facts(held=held),
    )


@part("method", "fedavg", gives={"sums"})
class FedAvg:
    """Local steps on all weights, averaged every T steps (McMahan et al. 2017)."""

    merge_every: int = MERGE_EVERY

    def build(self, task: Task, config) -> Method:
        return fedavg(task, task.shards, self.merge_every)


@part("method", "diloco", gives={"sums"})
class DiLoCo:
    """FedAvg with an outer Nesterov step (Douillard et al. 2023)."""

    merge_every: int = MERGE_EVERY
    outer_rate: float = OUTER_RATE
    outer_momentum: float = OUTER_MOMENTUM

    def build(self, task: Task, config) -> Method:
        return fedavg(task, task.shards, self.merge_every, self.outer_rate, self.outer_momentum)
