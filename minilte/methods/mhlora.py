"""LoRA and multi-head LoRA (section 3.1): low-rank pairs beside frozen matrices, never merged, one step for all heads."""

from collections.abc import Sequence

import numpy as np

from minilte.core.head import overlay, replica_of, trained_grads
from minilte.core.lora import Plan, plus_products, refuse_dead, stack
from minilte.core.method import Method
from minilte.core.types import Adapted, Adapter, Task
from minilte.methods.adapters import largest_ranks
from minilte.methods.data_parallel import Trainee, data_parallel
from minilte.methods.facts import Facts
from minilte.settings.part import part


@part("method", "mhlora", gives={"sums"}, brings=("adapters",))
class MHLoRA:
    """Multi-head LoRA: y = x W^T + (1/N) sum_n s_n (x A_n^T) B_n^T, all heads on the same batch."""

    def build(self, task: Task, config) -> Method:
        return mhlora(task, config.adapters.plan(task.weights, config.heads, config.seed), config.replicas)


@part("method", "lora", needs={"one rank"}, gives={"sums"}, brings=("adapters",))
class LoRA:
    """LoRA: one adapter a layer, W frozen, never merged (Hu et al. 2021)."""

    def build(self, task: Task, config) -> Method:
        return lora(task, config.adapters.plan(task.weights, config.heads, config.seed), config.replicas)


def mhlora(task: Task, plan: Plan, replicas: str = "average") -> Method:
    """MHLoRA, computed as one adapter of rank sum r_n (law L5); W is frozen."""
    heads = range(len(plan.ranks))
    now = tuple(plan.draw(n, 0) for n in heads)
    for head in now:
        refuse_dead(head)
    replica = replica_of(task.weights, now[0]) if replicas == "average" else {}

    def scales(name) -> Sequence[float]:
        return [plan.scales[n][name] / len(heads) for n in heads]

    def stacked(now):
        return {name: stack([head[name] for head in now], scales(name)) for name in now[0]}

    def params(trained):
        now, replica = trained
        layers = overlay(task.weights, replica)
        return layers | {name: Adapted(*layers[name], 1.0, pair, None) for name, pair in stacked(now).items()}

    def grads(grads, trained):
        now, replica = trained
        whole, rest = trained_grads(grads, (stacked(now), replica))
        each = {name: stack_back(whole[name], [head[name] for head in now], scales(name)) for name in whole}
        return tuple({name: each[name][n] for name in whole} for n in heads), rest

    def dense(trained):
        now, replica = trained
        layers = overlay(task.weights, replica)
        for name in now[0]:
            W = plus_products(layers[name].W, [head[name] for head in now], scales(name))
            layers[name] = layers[name]._replace(W=W)
        return layers

    def held(main, worker, all_heads):
        trained, opt = main.trained, main.opt if all_heads else None
        return {"weights": task.weights, "adapters": trained, "gradients": trained, "optimizer": opt}

    facts = Facts(
        bound=largest_ranks(plan.ranks, task.weights),
        held=held,
        one_lora=lambda main, _: (main.trained[0], plan.scales, [1 / len(heads)] * len(heads)),
    )
    return data_parallel(task, Trainee((now, replica), params, grads, dense), facts)


def lora(task: Task, plan: Plan, replicas: str = "average") -> Method:
    """LoRA: MHLoRA with one head, whatever the number of workers."""
    return mhlora(task, plan._replace(ranks=plan.ranks[:1], scales=plan.scales[:1]), replicas)


def stack_back(grad: Adapter, adapters: Sequence[Adapter], scales: Sequence[float]) -> tuple[Adapter, ...]:
    """The gradient of each adapter from the gradient of their stack: dA_n is its rows, dB_n is s_n times its columns."""
    ends = np.cumsum([len(adapter.A) for adapter in adapters])[:-1]
    pieces = zip(scales, np.split(grad.A, ends), np.split(grad.B, ends, axis=1), strict=True)
    return tuple(Adapter(dA, s * dB) for s, dA, dB in pieces)
