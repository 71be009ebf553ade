"""LoRA-the-Explorer as a method for the loop: what a head says, how W is merged, what a head hears of it.

    W <- W + sum_n w_n s_n (B_n A_n - V_n),  then  V_n <- B_n A_n, or a reset

V_n lives in the main state: what was merged of head n. Source: Huh et al. 2024, sections 3.3 and 3.4.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minilte.core import tree
from minilte.core.head import descend, overlay, replica_of, seen, trained_grads
from minilte.core.layers import change
from minilte.core.lora import Plan, plus_products, refuse_dead
from minilte.core.method import Method
from minilte.core.types import Adapter, Adapters, Head, Main, Rule, Sent, Task, Tree, Weights


def merged(
    weights: Weights,
    sent: Sequence[Sent],
    then: Sequence[Adapters] | None,
    scales: Sequence[dict[str, float]],
    w: Sequence[float],
    each: Callable = map,
) -> Weights:
    """W <- W + sum_n w_n s_n (B_n A_n - V_n) in every adapted layer; replicas are averaged with the same w_n.

    All heads' factors are stacked first, so a layer costs one product of m x R by R x n and O(mn) memory, never an
    m x n matrix a head (law L5). Source: section 3.3; the reset-less form with V_n is that of section 3.4.
    """
    layers = overlay(weights, mean([head.replicas for head in sent], w))
    for name in sent[0].factors:
        now = [head.factors[name] for head in sent]
        moves = now if then is None else [change(pair, V[name]) for pair, V in zip(now, then, strict=True)]
        weight = [w_n * s[name] for w_n, s in zip(w, scales, strict=True)]
        layers[name] = layers[name]._replace(W=plus_products(weights[name].W, moves, weight, each))
    return layers


MEAN = Rule(lambda weights: None, lambda state, *merge: (merged(*merge), state), True, True)  # the paper's rule


def mean(trees: Sequence[Tree], w: Sequence[float]) -> Tree:
    """sum_n w_n tree_n, added in head order so that the bits do not depend on who adds."""

    def add(*leaves):
        total = w[0] * leaves[0]
        for w_n, leaf in zip(w[1:], leaves[1:], strict=True):
            total += w_n * leaf
        return total

    return tree.map(add, *trees)


def lte(
    task: Task,
    plan: Plan,
    every: int = 10,
    reset: str = "none",
    reset_optimizer: bool = False,
    reduction: str = "shard",
    replicas: str = "average",
    w: Sequence[float] | None = None,
    rule: Rule = MEAN,
) -> Method:
    """LTE: every head takes T = `every` local steps on its own data, then all merge.

    reset: "none" (V_n <- B_n A_n), "b" or "ab". reduction: "shard", each head's loss is the mean over its own shard,
    or "batch", its part of the whole batch's mean. replicas: "average" or "frozen". w: the heads' shares in a merge,
    which sum to one; 1/N each by default. rule: how factors become a change of the main weights.
    """
    heads, adapted, keep = len(plan.ranks), plan.ranks[0], reset == "none"
    w = w or [1 / heads] * heads
    factor = task.shards if reduction == "batch" else [1.0] * heads
    zero = tuple(tree.blank(plan.shape(n)) for n in range(heads)) if keep else None  # V = 0

    def part_of(weights):
        return replica_of(weights, adapted) if replicas == "average" else {}

    def enter(n):
        now, replica = plan.draw(n, 0), part_of(task.weights)
        refuse_dead(now)
        return Head(n, now, replica, task.optimizer.init((now, replica)))

    def local(main, head, start, stop):
        n, then = head.index, None if main.then is None else main.then[head.index]
        see = lambda trained: seen(main.weights, *trained, then, plan.scales[n])  # noqa: E731
        trained = head.now, head.replica
        (now, replica), opt, loss = descend(task, see, trained_grads, trained, head.opt, n, start, stop, factor[n])
        return head._replace(now=now, replica=replica, opt=opt, loss=loss)

    def merge(main, sent, step, each):
        weights, state = rule.merge(main.rule, main.weights, sent, main.then, plan.scales, w, each)
        return Main(weights, tuple(head.factors for head in sent) if keep else None, state)  # V_n <- B_n A_n

    def hear(main, head, step):
        now, replica = head.now, part_of(main.weights)
        if not keep:
            A_from = plan.draw(head.index, step) if reset == "ab" else now
            now = {name: Adapter(A_from[name].A, np.zeros_like(pair.B)) for name, pair in now.items()}
        opt = task.optimizer.init((now, replica)) if reset_optimizer else head.opt
        return head._replace(now=now, replica=replica, opt=opt)

    def show(main, step):
        return {"weights": {name: main.weights[name].W for name in adapted}, "replicas": part_of(main.weights)}

    def view(shown, before, sent):
        weights = overlay(task.weights, shown["replicas"])
        weights |= {name: weights[name]._replace(W=W) for name, W in shown["weights"].items()}
        then = before.then
        if sent is not None and keep:
            then = tuple(sent[n].factors if n in sent else None for n in range(heads))
        return Main(weights, then)

    return Method(
        every=every,
        begin=lambda: Main(task.weights, zero, rule.init(task.weights)),
        enter=enter,
        local=local,
        tell=lambda head: Sent(head.now, head.replica),
        like=lambda n, main, step: Sent(tree.blank(plan.shape(n)), tree.blank(part_of(task.weights))),
        merge=merge,
        hear=hear,
        weights=lambda main: main.weights,
        show=show,
        frame=lambda: tree.blank(show(Main(task.weights, None), 0)),
        view=view,
    )
