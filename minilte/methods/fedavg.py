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
from minilte.core.types import Task, Tree, Weights
from minilte.methods.facts import Facts
from minilte.methods.lte import shares
from minilte.rules.outer import toward
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part


class Averaged(NamedTuple):
    """The weights that all agree on, and the outer momentum; None without."""

    weights: Weights
    buf: Tree


class Worker(NamedTuple):
    """A head with all weights of its own."""

    index: int
    weights: Weights
    opt: Tree
    loss: float = float("nan")


def fedavg(
    task: Task, w: Sequence[float], every: int, outer_rate: float = 1.0, outer_momentum: float = 0.0
) -> Method:
    """FedAvg of heads with shares w; another outer rate, or momentum, makes it DiLoCo."""
    plain = (outer_rate, outer_momentum) == (1.0, 0.0)

    def local(main, head, start, stop):
        weights, opt, loss = descend(
            task, lambda weights: weights, lambda grads, _: grads, head.weights, head.opt, head.index, start, stop
        )
        return Worker(head.index, weights, opt, loss)

    def merge(main, said, step, each):
        average = said["weights"]
        return Averaged(average, None) if plain else Averaged(
            *toward(main.weights, average, main.buf, outer_rate, outer_momentum)
        )  # fmt: skip

    return Method(
        every=every,
        begin=lambda: Averaged(task.weights, tree.zeros(task.weights) if outer_momentum else None),
        enter=lambda n: Worker(n, task.weights, task.optimizer.init(task.weights)),
        local=local,
        tell=lambda head: {"weights": tree.map(lambda leaf: w[head.index] * leaf, head.weights)},
        like=lambda n, main, step: {"weights": tree.blank(task.weights)},
        merge=merge,
        hear=lambda main, head, step: head._replace(weights=main.weights),
        weights=lambda main: main.weights,
        show=lambda main, step: {"weights": main.weights},
        frame=lambda: {"weights": tree.blank(task.weights)},
        view=lambda told, before, said: Averaged(told["weights"], None),
        adds=True,
        facts=Facts(held=held),
    )


def held(main: Averaged, head: Worker, all_heads: bool) -> dict:
    """What a worker holds between steps: the weights it began at and its own; the outer momentum where it merges."""
    weights = main.weights, head.weights
    outer = main.buf if all_heads else None
    return {"weights": weights, "rule": outer, "gradients": head.weights, "optimizer": head.opt}


@part("method", "fedavg", gives={"sums"})
class FedAvg:
    """Local steps on all weights, averaged every T steps (McMahan et al. 2017)."""

    merge_every: int = knob(10, "T, local steps between merges", least=1, most=MOST)

    def build(self, task: Task, config) -> Method:
        """The method of these settings."""
        return fedavg(task, shares(config.heads), self.merge_every)


@part("method", "diloco", gives={"sums"})
class DiLoCo:
    """FedAvg with an outer Nesterov step (Douillard et al. 2023)."""

    merge_every: int = knob(10, "T, local steps between merges", least=1, most=MOST)
    outer_rate: float = knob(0.7, "part of the way to the mean", above=0.0)
    outer_momentum: float = knob(0.9, "of the outer step", least=0.0, below=1.0)

    def build(self, task: Task, config) -> Method:
        """The method of these settings."""
        return fedavg(task, shares(config.heads), self.merge_every, self.outer_rate, self.outer_momentum)
