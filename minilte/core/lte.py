"""LoRA-the-Explorer: the loop of Algorithm 1, and the parts that make it LTE.

The loop names heads, never ranks: how many processes hold them is the communicator's affair. Other methods are other
choices of parts for the same loop (`minilte.baselines`). Source: Huh et al. 2024, section 3.3 and Algorithm 1.
"""

from collections.abc import Callable, Sequence

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.head import each_alone, replica_of, reset
from minilte.core.lora import Plan, refuse_dead
from minilte.core.merge import ALLGATHER, MEAN, TRUSTING, shares
from minilte.core.types import (
    Comm,
    Guard,
    Head,
    Main,
    Merging,
    Method,
    Round,
    Rounds,
    Rule,
    Sent,
    Task,
    Topology,
    Tree,
)


def rounds(method: Method, comm: Comm, main: Tree, heads: Sequence[Tree], steps: int, start: int = 0) -> Rounds:
    """Train from step `start` to `steps`, yielding a Round after every merge.

    The last round may be shorter than T and always merges. Nothing passed in is changed in place.
    """
    main = method.share(comm, main, start)
    while start < steps:
        stop = min(start - start % method.every + method.every, steps)
        heads = method.local(main, heads, start, stop, comm.each)  # T local steps, no talk
        main, losses = method.merge(comm, main, heads, stop)  # W <- W + sum_n w_n s_n (B_n A_n - V_n)
        heads = [method.restart(main, head, stop) for head in heads]  # V_n <- B_n A_n, or a reset
        start = stop
        yield Round(stop, main, heads, losses)


RESETS, REDUCTIONS, REPLICAS = ("none", "b", "ab"), ("shard", "batch"), ("average", "frozen")


def lte(
    task: Task,
    plan: Plan,
    every: int = 10,
    reset_mode: str = "none",
    reset_optimizer: bool = False,
    reduction: str = "shard",
    replicas: str = "average",
    w: Sequence[float] | None = None,
    rule: Rule = MEAN,
    local_steps: Callable = each_alone,
    topology: Topology = ALLGATHER,
    guard: Guard = TRUSTING,
) -> Method:
    """The parts of LTE: every head takes T = `every` local steps on its own data, then all merge their factors.

    reset_mode: "none" (V_n <- B_n A_n), "b" or "ab". reduction: "shard", each head's loss is the mean over its own
    shard, or "batch", its part of the whole batch's mean. replicas: "average" or "frozen". w: the heads' shares in a
    merge, 1/N each by default. rule: how factors become a change of the main weights. local_steps: how the heads of a
    rank take their steps. topology: who hears what at a merge. guard: what is done about bad heads. Raises BadInput
    for an unknown word, or shares that do not sum to one.
    """
    for word, known in ((reset_mode, RESETS), (reduction, REDUCTIONS), (replicas, REPLICAS)):
        if word not in known:
            raise BadInput(f"lte: expected one of {', '.join(known)}, got {word!r}")
    heads = len(plan.ranks)
    w = shares(heads, w)
    adapted = plan.ranks[0]
    replica = replica_of(task.weights, adapted) if replicas == "average" else {}
    start = [tree.blank(plan.shape(n)) if reset_mode == "none" else None for n in range(heads)]  # V = 0
    parts = task.shares if reduction == "batch" else [1.0] * heads  # of each head's gradient
    like = [Sent(tree.blank(plan.shape(n)), tree.blank(replica)) for n in range(heads)]
    keep = reset_mode == "none" and topology.remembers
    merging = Merging(rule, plan.scales, w, like, keep, guard)

    def enter(n):
        now = plan.draw(n, 0)
        refuse_dead(now)
        return Head(n, now, start[n], replica, task.optimizer.init((now, replica)))

    def restart(main, head, step):
        fresh = plan.draw(head.index, step) if reset_mode == "ab" else None
        if replicas == "average":
            head = head._replace(replica=replica_of(main.weights, adapted))
        sent = topology.as_sent(head.now)
        if main.trust is not None and (part := main.trust[head.index]) < 1:
            head, sent = guard.recover(task, head, part, sent, plan.draw(head.index, step))
        return reset(task, head, reset_mode, fresh, reset_optimizer, sent)

    return Method(
        every=every,
        begin=lambda: Main(task.weights, tuple(start) if keep else None, rule.init(task.weights), guard.begin(heads)),
        enter=enter,
        local=lambda *now: local_steps(task, plan.scales, parts, *now),
        share=topology.share,
        merge=lambda *now: topology.merge(*now, merging),
        restart=restart,
        whole=topology.whole,
        params=lambda main: main.weights,
        dense=lambda main: main.weights,
    )
