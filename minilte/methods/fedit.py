"""FedIT: the heads' factors averaged apart. FedEx: what that misses, added to W.

    FedIT   A <- sum_n w_n A_n, B <- sum_n w_n B_n: biased, for a product of means is no mean of products
                                                                                   (Zhang et al. 2023)
    FedEx   the same, and W <- W + s (sum_n w_n B_n A_n - B A): exact               (Singhal et al. 2024)

All heads begin with the same A: the mean of N independent ones would be smaller by sqrt(1/N).
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.head import descend, overlay, replica_of, seen, trained_grads
from minilte.core.lora import Plan, plus_products
from minilte.core.lte import mean
from minilte.core.method import Method
from minilte.core.types import Adapters, Head, Sent, Task, Weights
from minilte.methods.adapters import largest_ranks
from minilte.methods.facts import Facts
from minilte.methods.lte import shares
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part


class Mean(NamedTuple):
    """The weights, and the averaged factors beside them; the layer is W + s B A."""

    weights: Weights
    factors: Adapters


def fedit(
    task: Task, plan: Plan, w: Sequence[float], every: int, replicas: str = "average", exact: bool = False
) -> Method:
    """FedIT, or FedEx where `exact`, of heads with equal ranks and the same A at the start."""
    adapted, scales = plan.ranks[0], plan.scales[0]
    part_of = lambda weights: replica_of(weights, adapted) if replicas == "average" else {}  # noqa: E731

    def enter(n):
        now, replica = plan.draw(0, 0), part_of(task.weights)
        return Head(n, now, replica, task.optimizer.init((now, replica)))

    def local(main, head, start, stop):
        see = lambda trained: seen(main.weights, *trained, None, scales)  # noqa: E731
        trained = head.now, head.replica
        (now, replica), opt, loss = descend(task, see, trained_grads, trained, head.opt, head.index, start, stop)
        return Head(head.index, now, replica, opt, loss)

    def tell(head):
        said = Sent(head.now, head.replica)
        return said if exact else tree.map(lambda leaf: w[head.index] * leaf, said)

    def with_products(weights, pairs, by):
        """W + sum_k by_k s B_k A_k in every adapted layer."""
        dense = {
            name: weights[name]._replace(
                W=plus_products(weights[name].W, [pair[name] for pair in pairs], [k * scales[name] for k in by])
            )
            for name in adapted
        }
        return weights | dense

    def merge(main, said, step, each):
        average = mean(said, w) if exact else said
        weights = overlay(main.weights, average.replicas)
        if exact:
            weights = with_products(weights, [*(sent.factors for sent in said), average.factors], [*w, -1.0])
        return Mean(weights, average.factors)

    def show(main, step):
        told = {"factors": main.factors, "replicas": part_of(main.weights)}
        return told | ({"weights": {name: main.weights[name].W for name in adapted}} if exact else {})

    def view(told, before, said):
        weights = overlay(task.weights, told["replicas"])
        weights |= {name: weights[name]._replace(W=W) for name, W in told.get("weights", {}).items()}
        return Mean(weights, told["factors"])

    def held(main, head, all_heads):
        trained = head.now, head.replica
        return {"weights": main.weights, "adapters": trained, "gradients": trained, "optimizer": head.opt}

    begin = lambda: Mean(task.weights, plan.draw(0, 0))  # noqa: E731
    return Method(
        every=every,
        begin=begin,
        enter=enter,
        local=local,
        tell=tell,
        like=lambda n, main, step: Sent(tree.blank(plan.shape(n)), tree.blank(part_of(task.weights))),
        merge=merge,
        hear=lambda main, head, step: head._replace(now=main.factors, replica=part_of(main.weights)),
        weights=lambda main: with_products(main.weights, [main.factors], [1.0]),
        show=show,
        frame=lambda: tree.blank(show(begin(), 0)),
        view=view,
        adds=not exact,
        facts=Facts(held=held, bound={} if exact else largest_ranks(plan.ranks[:1], task.weights)),
    )


@part("method", "fedit", gives={"sums"}, brings=("adapters",))
class FedIT:
    """Factors averaged apart, every T steps: biased (Zhang et al. 2023)."""

    merge_every: int = knob(10, "T, local steps between merges", least=1, most=MOST)

    def check_with(self, config):
        refuse_unequal(config)

    def build(self, task: Task, config) -> Method:
        """The method of these settings."""
        return fedit(task, same_start(task, config), shares(config.heads), self.merge_every, config.replicas)


@part("method", "fedex", gives={"factors", "served W"}, brings=("adapters",))
class FedEx:
    """Factors averaged apart, and the residual added to W: exact (Singhal et al. 2024)."""

    merge_every: int = knob(10, "T, local steps between merges", least=1, most=MOST)

    def check_with(self, config):
        refuse_unequal(config)

    def build(self, task: Task, config) -> Method:
        """The method of these settings."""
        return fedit(
            task, same_start(task, config), shares(config.heads), self.merge_every, config.replicas, exact=True
        )


def refuse_unequal(config) -> None:
    """Raises BadInput for heads of different rank, whose factors have no mean."""
    if len(set(config.head_ranks)) > 1:
        raise BadInput(
            f"head-ranks: {config.method.name} averages factors, which need one rank, got {config.head_ranks}"
        )


def same_start(task: Task, config) -> Plan:
    """The plan of the settings, with the same A for all heads."""
    adapters = dataclasses.replace(config.adapters, head_init="same")
    return adapters.plan(task.weights, config.heads, config.seed)
