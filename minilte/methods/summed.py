"""LTE by sums of dense changes: an all-reduce of matrices in the place of factors."""

from collections.abc import Sequence
from typing import NamedTuple

from minilte.core import tree
from minilte.core.head import of_head, overlay
from minilte.core.layers import change
from minilte.core.lora import Plan, product
from minilte.core.method import Method
from minilte.core.types import Adapter, Adapters, Array, Head, Main, Task
from minilte.methods.facts import Facts, known


class Summed(NamedTuple):
    """A head whose factors are not sent: it keeps its V_n itself."""

    head: Head
    then: Adapters | None

    index, loss = of_head("index"), of_head("loss")


def summed(method: Method, task: Task, plan: Plan, w: Sequence[float]) -> Method:
    """LTE whose heads send w_n s_n (B_n A_n - V_n) as matrices, which are added to W: O(mn) numbers a head, as dense
    data parallel training sends. The same weights up to rounding."""

    def around(main: Main, heads: Sequence[Summed]):
        """The main state with the V_n of these heads; None stays None."""
        reset = heads[0].then is None
        return main._replace(then=None if reset else {worker.index: worker.then for worker in heads})

    def enter(n):
        then = method.begin().then
        return Summed(method.enter(n), None if then is None else then[n])

    def local(main, worker, start, stop):
        return worker._replace(head=method.local(around(main, [worker]), worker.head, start, stop))

    def together(main, heads, start, stop, each):
        done = method.together(around(main, heads), [worker.head for worker in heads], start, stop, each)
        return [worker._replace(head=head) for worker, head in zip(heads, done, strict=True)]

    def tell(worker):
        n, moved, then = worker.index, worker.head.now, worker.then
        if then is not None:
            moved = {name: change(pair, then[name]) for name, pair in moved.items()}
        deltas = {name: dense(pair, w[n] * plan.scales[n][name]) for name, pair in moved.items()}
        return {"deltas": deltas, "replicas": tree.map(lambda leaf: w[n] * leaf, worker.head.replica)}

    def like(n, main, step):
        weights = {name: tree.blank(task.weights[name].W) for name in plan.ranks[0]}
        return {"deltas": weights, "replicas": method.like(n, main, step).replicas}

    def merge(main, said, step, each):
        weights = overlay(main.weights, said["replicas"])
        for name, D in said["deltas"].items():
            weights[name] = weights[name]._replace(W=weights[name].W + D)
        return main._replace(weights=weights)

    def hear(main, worker, step):
        return Summed(method.hear(main, worker.head, step), None if worker.then is None else worker.head.now)

    facts = known(method)

    def held(main, worker, all_heads):
        return facts.held(main, worker.head, True) | {"merged_factors": worker.then}

    return method._replace(
        begin=lambda: method.begin()._replace(then=None),
        enter=enter,
        local=local,
        together=together if method.together else None,
        tell=tell,
        like=like,
        merge=merge,
        hear=hear,
        view=lambda shown, before, said: method.view(shown, before, None),
        adds=True,
        facts=Facts(
            bound=method.facts.bound,
            held=held,
            one_lora=(lambda main, heads: ([worker.then for worker in heads], plan.scales, w))
            if facts.one_lora
            else None,
            resized=lambda main, heads: main,
        ),
    )


def dense(pair: Adapter, scale: float) -> Array:
    """scale B A as a matrix, the scale folded into B."""
    return product(pair._replace(B=scale * pair.B))
