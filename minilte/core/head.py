"""A head inside LTE: what it sees of the main weights, what it trains, and its T local steps."""

from collections.abc import Callable

from minilte.core import networks, optim, tree
from minilte.core.types import Adapted, Adapters, Linear, Task, Tree, Weights


def of_head(name: str) -> property:
    """A field of the head that something holds: what it stands for, a head of its own in the loop."""
    return property(lambda self: getattr(self.head, name))


def replica_of(weights: Weights, adapted) -> Weights:
    """What a head trains beside its adapters: all of `weights` but the matrices that have an adapter."""
    return {name: Linear(None, layer.c) if name in adapted else layer for name, layer in weights.items()}


def overlay(weights: Weights, replica: Weights) -> Weights:
    """`weights` with every array that `replica` holds in its place; an empty replica changes nothing."""
    layers = dict(weights)
    for name, copy in replica.items():
        layers[name] = type(copy)(*(old if new is None else new for old, new in zip(weights[name], copy)))
    return layers


def seen(weights: Weights, now: Adapters, replica: Weights, then: Adapters | None, scales: dict[str, float]) -> dict:
    """The network's parameters as a head computes with them: W - s V + s B A, and its own replicas.

    At full scale s, not s / N: the 1/N of MHLoRA is in the merge (section 3.3).
    """
    layers = overlay(weights, replica)
    for name, pair in now.items():
        layers[name] = Adapted(*layers[name], scales[name], pair, None if then is None else then[name])
    return layers


def trained_grads(grads: dict, trained: tuple[Adapters, Weights]) -> tuple[Adapters, Weights]:
    """The gradient of (now, replica) out of the gradients of all layers; what is not trained is left out."""
    now, replica = trained
    mine = {name: grads[name].now for name in now}
    rest = {name: Linear(None, grads[name].c) if name in now else grads[name] for name in replica}
    return tree.map(lambda _, grad: grad, trained, (mine, rest))


def descend(
    task: Task, see: Callable[[Tree], dict], pick: Callable[[dict, Tree], Tree], trained: Tree, opt: Tree,
    n: int, start: int, stop: int, factor: float = 1.0,
) -> tuple[Tree, Tree, float]:  # fmt: skip
    """Steps start … stop-1 of head n on its own batches: (trained, optimizer state, mean loss) after them.

    see(trained) are the network's parameters, pick(grads, trained) the gradient of what is trained. `factor` scales
    the gradient: 1 for the mean over the head's own shard, b_n / b for its part of the whole batch's mean, as the
    authors' code has it. Adam hides the factor, SGD does not.
    """
    losses = []
    for step in range(start, stop):
        loss, grads = networks.loss_and_grads(task.net, see(trained), *task.batch(n, step), factor)
        grads = optim.clip(pick(grads, trained), task.clip)
        # from the second step on, the arrays are this loop's own and their memory may be used again
        update = task.optimizer.in_place if step > start and task.optimizer.in_place else task.optimizer.update
        trained, opt = update(trained, grads, opt, task.rate(step))
        losses.append(loss)
    return trained, opt, sum(losses) / len(losses)
