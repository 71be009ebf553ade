"""Data parallel training on the loop of `core.lte`: T = 1, gradients are summed, one optimizer for all.

`full` trains the matrices themselves; `lora` one adapter a layer; `mhlora` N adapters a layer at once (section 3.1).
Heads are the workers among which every cumulative batch is split; by law L11 their number does not change the step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from minilte.core import networks, optim
from minilte.core.head import overlay, replica_of, trained_grads
from minilte.core.lora import Plan, refuse_dead, stack, stack_back
from minilte.core.merge import plus_products
from minilte.core.types import Adapted, Method, Task, Tree, Weights


class Shared(NamedTuple):
    """What every worker holds alike: the parameters in training and their optimizer state."""

    trained: Tree
    opt: Tree


class Worker(NamedTuple):
    """One share of the batch: its part of the whole batch's gradient."""

    index: int
    grads: Tree = None
    loss: float = float("nan")


class Trainee(NamedTuple):
    """What data parallel training trains, and how the network sees it."""

    start: Tree
    params: Callable[[Tree], dict]  # trained -> the network's parameters
    grads: Callable[[dict, Tree], Tree]  # (gradients of the parameters, trained) -> gradients of what is trained
    dense: Callable[[Tree], Weights]  # trained -> one dense matrix a layer


def data_parallel(task: Task, trainee: Trainee) -> Method:
    """Gradients of the whole batch's mean, summed in head order, clipped after the sum, one step for all."""

    def local(main, workers, start, _, each):
        def part(worker):
            x, y = task.batch(worker.index, start)
            share = task.shares[worker.index]
            loss, grads = networks.loss_and_grads(task.net, trainee.params(main.trained), x, y, share)
            return worker._replace(grads=trainee.grads(grads, main.trained), loss=loss)

        return list(each(part, workers))

    def merge(comm, main, workers, step):
        grads, losses = comm.sum("gradients", [w.grads for w in workers], [w.loss for w in workers])
        grads = optim.clip(grads, task.clip)
        return Shared(*task.optimizer.update(main.trained, grads, main.opt, task.rate(step - 1))), losses

    return Method(
        every=1,
        begin=lambda: Shared(trainee.start, task.optimizer.init(trainee.start)),
        enter=Worker,
        share=lambda comm, main, step: main,
        local=local,
        merge=merge,
        restart=lambda main, worker, step: Worker(worker.index),
        whole=lambda main: main,
        params=lambda main: trainee.params(main.trained),
        dense=lambda main: trainee.dense(main.trained),
    )


def full(task: Task) -> Method:
    """Full-rank training: every weight, every step."""
    return data_parallel(
        task, Trainee(task.weights, lambda weights: weights, lambda grads, _: grads, lambda weights: weights)
    )


def mhlora(task: Task, plan: Plan, replicas: str = "average") -> Method:
    """MHLoRA: y = x W^T + (1/N) sum_n s_n (x A_n^T) B_n^T, all heads on the same batch; W is frozen.

    The sum is computed as one adapter of rank sum r_n (law L5).
    """
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

    return data_parallel(task, Trainee((now, replica), params, grads, dense))


def lora(task: Task, plan: Plan, replicas: str = "average") -> Method:
    """LoRA: one adapter a layer, W frozen, never merged. It is MHLoRA with one head, whatever the number of workers."""
    first = plan._replace(ranks=plan.ranks[:1], scales=plan.scales[:1])
    return mhlora(task, first, replicas)
