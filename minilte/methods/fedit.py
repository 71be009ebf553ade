"""FedIT: the means of the heads' A and of their B. FedEx: the residual of that, added to W.

    FedIT   A <- sum_n w_n A_n, B <- sum_n w_n B_n: biased, for a product of means is no mean of products
                                                                                   (Zhang et al. 2023)
    FedEx   the same, and W <- W + s (sum_n w_n B_n A_n - B A): exact               (Singhal et al. 2024)

All heads begin with the same A: the mean of N independent ones would be smaller by sqrt(1/N).
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from minilte.core import tree
from minilte.core.head import overlay
from minilte.core.lora import Plan, plus_products
from minilte.core.lte import lte, mean
from minilte.core.method import Method
from minilte.core.types import Adapters, Main, Task, Weights
from minilte.methods.adapters import largest_ranks
from minilte.methods.facts import Facts
from minilte.methods.lte import MERGE_EVERY
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
    apart = lte(task, plan, every, replicas=replicas)  # its heads, around W without V
    without_V = lambda main: Main(main.weights, None)  # noqa: E731

    def tell(head):
        said = apart.tell(head)
        return said if exact else tree.map(lambda leaf: w[head.index] * leaf, said)

    def with_products(weights, pairs, by):
        """W + sum_k by_k s B_k A_k in every adapted layer."""
        layers = dict(weights)
        for name in adapted:
            W = plus_products(layers[name].W, [pair[name] for pair in pairs], [k * scales[name] for k in by])
            layers[name] = layers[name]._replace(W=W)
        return layers

    def merge(main, said, step, each):
        average = mean(said, w) if exact else said
        weights = overlay(main.weights, average.replicas)
        if exact:
            weights = with_products(weights, [*(sent.factors for sent in said), average.factors], [*w, -1.0])
        return Mean(weights, average.factors)

    def show(main, step):
        shown = apart.show(main, step) | {"factors": main.factors}
        return shown if exact else {kind: shown[kind] for kind in ("factors", "replicas")}

    def view(shown, before, said):
        return Mean(apart.view({"weights": {}} | shown, Main({}, None), None).weights, shown["factors"])

    def held(main, head, all_heads):
        trained = head.now, head.replica
        return {"weights": main.weights, "adapters": trained, "gradients": trained, "optimizer": head.opt}

    begin = lambda: Mean(task.weights, plan.draw(0, 0))  # noqa: E731
    return apart._replace(
        begin=begin,
        enter=lambda n: apart.enter(0)._replace(index=n),
        local=lambda main, *steps: apart.local(without_V(main), *steps),
        tell=tell,
        merge=merge,
        hear=lambda main, *head: apart.hear(without_V(main), *head)._replace(now=main.factors),
        weights=lambda main: with_products(main.weights, [main.factors], [1.0]),
        show=show,
        frame=lambda: tree.blank(show(begin(), 0)),
        view=view,
        adds=not exact,
        facts=Facts(held=held, bound={} if exact else largest_ranks(plan.ranks[:1], task.weights)),
    )


def same_start(chosen, task: Task, config) -> Method:
    """FedIT or FedEx of these settings, with the same A for all heads."""
    adapters = dataclasses.replace(config.adapters, head_init="same")
    plan = adapters.plan(task.weights, config.heads, config.seed)
    return fedit(task, plan, task.shards, chosen.merge_every, config.replicas, chosen.exact)


@part("method", "fedit", needs={"one rank"}, gives={"sums"}, brings=("adapters",))
class FedIT:
    """Factors averaged apart, every T steps: biased (Zhang et al. 2023)."""

    merge_every: int = MERGE_EVERY

    exact = False
    build = same_start


@part("method", "fedex", needs={"one rank"}, gives={"factors", "served W"}, brings=("adapters",))
class FedEx:
    """Factors averaged apart, and the residual added to W: exact (Singhal et al. 2024)."""

    merge_every: int = MERGE_EVERY

    exact = True
    build = same_start
