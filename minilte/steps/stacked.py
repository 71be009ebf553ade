"""Local steps with stacked rows: several heads of a process share one dense product, rows below rows.

A head's batch is small when the cumulative batch is split among many: eight products of 32 rows cost more than one of
256. A BLAS may add the same sums in another order in the larger product, so the bits depend on which heads are
stacked, and the mode is optional. Everything else (adapters, biases, losses, optimizers) stays each head's own.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minilte.core import networks, optim
from minilte.core.head import seen, trained_grads
from minilte.core.lora import Plan
from minilte.core.method import Method
from minilte.core.types import Adapted, Array, Head, Main, Task
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part


class Stacked(NamedTuple):
    """A layer as several heads see it; head i has the rows ends[i-1] … ends[i]-1."""

    heads: tuple  # of each head its Adapted (all around the same W), Linear or Norm
    ends: tuple[int, ...]


def parts(x: Array, ends: Sequence[int]) -> list[Array]:
    """The rows of each head (views)."""
    return np.split(x, ends[:-1])


def stacked(x: Array, heads: tuple, ends: tuple[int, ...]):
    """Every head's layer on its own rows; a single product with the W they share.    (b,n)->(b,m)"""
    f, _ = networks.PAIRS[type(heads[0])]
    if isinstance(heads[0], Adapted):  # W is the same array in all
        y = x @ heads[0].W.T
        caches = [f(rows, *head, y=own)[1] for rows, head, own in zip(parts(x, ends), heads, parts(y, ends))]
    else:
        each, caches = zip(*(f(rows, *head) for rows, head in zip(parts(x, ends), heads)))
        y = np.concatenate(each)
    return y, (heads, ends, caches)


def stacked_back(dy: Array, cache, wrt_x: bool = True):
    """dx, the gradients of each head's layer, None (ends)."""
    heads, ends, caches = cache
    _, back = networks.PAIRS[type(heads[0])]
    if isinstance(heads[0], Adapted) and wrt_x:
        dx = dy @ heads[0].W
        done = [back(rows, own, dx=mine) for rows, own, mine in zip(parts(dy, ends), caches, parts(dx, ends))]
    else:
        done = [back(rows, own, wrt_x) for rows, own in zip(parts(dy, ends), caches)]
        dx = np.concatenate([mine for mine, *_ in done]) if wrt_x else None
    return dx, tuple(type(head)(*rest) for head, (_, *rest) in zip(heads, done)), None


networks.PAIRS[Stacked] = (stacked, stacked_back)


@part("local_steps", "stacked")
class Stacking:
    """Heads of a process share their dense products: faster for few rows a head, other bits."""

    stack: int = knob(2, "heads that share their dense products", least=1, most=MOST)

    def wrap(self, method: Method, task: Task, plan: Plan, factor: Sequence[float]) -> Method:
        return method._replace(together=stacked_steps(self.stack, task, plan, factor))


def stacked_steps(size: int, task: Task, plan: Plan, factor: Sequence[float]) -> Callable:
    """Local steps of LTE, with the heads of a process in groups of `size`, whose rows share their dense products.

    factor[n] scales the gradient of head n, as in `core.head.descend`.
    """

    def steps(main: Main, heads: Sequence[Head], start: int, stop: int, each=map) -> list[Head]:
        groups = [heads[at : at + size] for at in range(0, len(heads), size)]
        together = each(lambda group: group_steps(task, plan, factor, main, group, start, stop), groups)
        return [head for group in together for head in group]

    return steps


def group_steps(
    task: Task, plan: Plan, factor, main: Main, heads: Sequence[Head], start: int, stop: int
) -> list[Head]:
    """Steps start … stop-1 of the heads of a group, as `core.head.descend` takes them one by one."""
    trained, opts, losses = [(head.now, head.replica) for head in heads], [head.opt for head in heads], []
    for step in range(start, stop):
        each_loss, grads = loss_and_grads(task, plan, factor, main, heads, trained, step)
        losses.append(each_loss)
        update = task.optimizer.in_place if step > start and task.optimizer.in_place else task.optimizer.update
        for i, own in enumerate(trained):
            grad = optim.clip(trained_grads(grads[i], own), task.clip)
            trained[i], opts[i] = update(own, grad, opts[i], task.rate(step))
    means = np.mean(losses, axis=0)
    done = zip(heads, trained, opts, means)
    return [head._replace(now=now, replica=rep, opt=opt, loss=float(loss)) for head, (now, rep), opt, loss in done]


def loss_and_grads(task: Task, plan: Plan, factor, main: Main, heads: Sequence[Head], trained: list, step: int):
    """The loss of each head on its own rows, and for each head the gradients of all layers."""
    batches = [task.batch(head.index, step) for head in heads]
    ends = tuple(int(end) for end in np.cumsum([len(x) for x, _ in batches]))
    V = main.then or [None] * len(plan.scales)
    views = [seen(main.weights, *own, V[head.index], plan.scales[head.index]) for own, head in zip(trained, heads)]
    params = {name: Stacked(tuple(view[name] for view in views), ends) for name in views[0]}
    z, caches = networks.forward(task.net, params, np.concatenate([x for x, _ in batches]))
    done = [
        networks.loss_and_dz(task.net, own, y, factor[head.index])
        for own, (_, y), head in zip(parts(z, ends), batches, heads)
    ]
    grads = networks.backward(np.concatenate([dz for _, dz in done]), caches, task.net, params)
    return [loss for loss, _ in done], [{name: g.heads[i] for name, g in grads.items()} for i in range(len(heads))]
