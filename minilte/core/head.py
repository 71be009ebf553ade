"""A head inside LTE: what it sees of the main weights, what it trains, and its T local steps."""

from collections.abc import Callable, Sequence

import numpy as np

from minilte.core import networks, optim, tree
from minilte.core.types import Adapted, Adapter, Adapters, Head, Linear, Main, Task, Tree, Weights


def replica_of(weights: Weights, adapted) -> Weights:
    """What a head trains beside its adapters: all of `weights` but the matrices that have an adapter."""
    return {name: Linear(None, layer.c) if name in adapted else layer for name, layer in weights.items()}


def overlay(weights: Weights, replica: Weights) -> Weights:
    """`weights` with every array that `replica` holds in its place; an empty replica changes nothing."""
    layers = dict(weights)
    for name, copy in replica.items():
        layers[name] = type(copy)(*(old if new is None else new for old, new in zip(weights[name], copy)))
    return layers


def seen(weights: Weights, head: Head, scales: dict[str, float]) -> dict:
    """The network's parameters as the head computes with them: W - s V + s B A, and its own replicas.

    At full scale s, not s / N: the 1/N of MHLoRA is in the merge (section 3.3).
    """
    layers = overlay(weights, head.replica)
    for name, now in head.now.items():
        then = None if head.then is None else head.then[name]
        layers[name] = Adapted(*layers[name], scales[name], now, then)
    return layers


def trained_grads(grads: dict, trained: tuple) -> tuple:
    """The gradient of (now, replica) out of the gradients of all layers; what is not trained is left out."""
    now, replica = trained
    mine = {name: grads[name].now for name in now}
    rest = {name: Linear(None, grads[name].c) if name in now else grads[name] for name in replica}
    return tree.map(lambda _, grad: grad, trained, (mine, rest))


def local_steps(
    task: Task, scales: dict[str, float], share: float, main: Main, head: Head, start: int, stop: int
) -> Head:
    """Steps start … stop-1 of one head on its own batches, with its own optimizer; the main weights stay.

    `share` scales the gradient: 1 for the mean over the head's own shard, b_n / b for its part of the whole batch's
    mean, as the authors' code has it. Adam hides the factor, SGD does not.
    """
    (now, replica, opt), losses = (head.now, head.replica, head.opt), []
    for step in range(start, stop):
        x, y = task.batch(head.index, step)
        params = seen(main.weights, head._replace(now=now, replica=replica), scales)
        loss, grads = networks.loss_and_grads(task.net, params, x, y, share)
        grads = optim.clip(trained_grads(grads, (now, replica)), task.clip)
        mine = step > start  # from the second step on, the arrays are this loop's own
        (now, replica), opt = task.optimizer.update((now, replica), grads, opt, task.rate(step), mine=mine)
        losses.append(loss)
    return head._replace(now=now, replica=replica, opt=opt, loss=sum(losses) / len(losses))


def each_alone(
    task: Task, scales, shares, main: Main, heads: Sequence[Head], start: int, stop: int, each: Callable = map
) -> list[Head]:
    """`local_steps` of every head that lives here; `each` maps over them, on several threads where there are some."""

    def alone(head):
        return local_steps(task, scales[head.index], shares[head.index], main, head, start, stop)

    return list(each(alone, heads))


def reset(task: Task, head: Head, how: str, fresh: Tree, optimizer: bool, sent: Adapters | None = None) -> Head:
    """What a head does after a merge (section 3.4).

    "none": V <- B A, all else stays. "b": B <- 0, V <- 0, A stays. "ab": A is redrawn too (`fresh`). `optimizer` also
    forgets the optimizer state. `sent` are the factors as the others got them, where that was rounded.
    """
    if how == "none":
        now, then = head.now, sent or head.now
    else:
        A_from = fresh if how == "ab" else head.now
        now = {name: Adapter(A_from[name].A, np.zeros_like(pair.B)) for name, pair in head.now.items()}
        then = None
    opt = task.optimizer.init((now, head.replica)) if optimizer else head.opt
    return head._replace(now=now, then=then, opt=opt)
