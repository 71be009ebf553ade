"""Data parallel training on the loop of `core.method`: T = 1, gradients are summed, one optimizer for all.

Heads are the workers among which every cumulative batch is split; by law L11 their number does not change the step.
"""

from collections.abc import Callable
from typing import NamedTuple

from minilte.core import networks, optim, tree
from minilte.core.method import Method
from minilte.core.types import Task, Tree, Weights
from minilte.methods.facts import Facts


class Shared(NamedTuple):
    """The same on every worker: the parameters in training and their optimizer state."""

    trained: Tree
    opt: Tree


class Worker(NamedTuple):
    """The worker of a shard: its summand of the whole batch's gradient."""

    index: int
    grads: Tree = None
    loss: float = float("nan")


class Trainee(NamedTuple):
    """What data parallel training trains, and how the network sees it."""

    start: Tree
    params: Callable[[Tree], dict]  # trained -> the network's parameters
    grads: Callable[[dict, Tree], Tree]  # (gradients of the parameters, trained) -> gradients of what is trained
    dense: Callable[[Tree], Weights]  # trained -> one dense matrix a layer


def data_parallel(task: Task, trainee: Trainee, facts: Facts = Facts()) -> Method:
    """Gradients of the whole batch's mean, summed in head order, clipped after the sum, one step for all."""

    def local(main, worker, start, stop):
        x, y = task.batch(worker.index, start)
        params, factor = trainee.params(main.trained), task.shards[worker.index]
        loss, grads = networks.loss_and_grads(task.net, params, x, y, factor)
        return worker._replace(grads=trainee.grads(grads, main.trained), loss=loss)

    def merge(main, said, step, each):
        grads = optim.clip(said["gradients"], task.clip)
        return Shared(*task.optimizer.update(main.trained, grads, main.opt, task.rate(step - 1)))

    return Method(
        every=1,
        begin=lambda: Shared(trainee.start, task.optimizer.init(trainee.start)),
        enter=Worker,
        local=local,
        tell=lambda worker: {"gradients": worker.grads},
        like=lambda n, main, step: {"gradients": tree.blank(trainee.start)},
        merge=merge,
        hear=lambda main, worker, step: Worker(worker.index),
        weights=lambda main: trainee.dense(main.trained),
        show=lambda main, step: {"weights": main.trained},
        frame=lambda: {"weights": tree.blank(trainee.start)},
        view=lambda shown, before, said: Shared(shown["weights"], None),
        adds=True,
        facts=facts,
    )
