"""LoRA-the-Explorer as settings, and its facts; the method itself is `core.lte`."""

import math
from collections.abc import Sequence

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.core.head import replica_of
from minilte.core.lora import Plan
from minilte.core.lte import lte
from minilte.core.method import Method
from minilte.core.types import Adapter, Adapters, Head, Main, Sent, Task
from minilte.methods.adapters import largest_ranks
from minilte.methods.facts import Facts
from minilte.methods.summed import summed
from minilte.rules.changes import moved
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part

MERGE_EVERY = knob(10, "T, local steps between merges", least=1, most=MOST)
RESET = knob("none", "after a merge: nothing, B, or A and B", choices=("none", "b", "ab"))
RESET_OPTIMIZER = knob(False, "forget the optimizer state at every merge")


@part("method", "lte", brings=("adapters", "rule", "wire", "guard", "quant", "local_steps"))
class LTE:
    """LoRA-the-Explorer (Huh et al. 2024): many heads with adapters of their own, merged every T steps."""

    merge_every: int = MERGE_EVERY
    reset: str = RESET
    reset_optimizer: bool = RESET_OPTIMIZER
    loss_reduction: str = knob(
        "shard", "a head's loss: mean over its shard, or its part of the batch's mean", choices=("shard", "batch")
    )
    shares: tuple[float, ...] = knob((), "w_n of each head in a merge, as 0.5,0.25,0.25; default the same", least=0.0)

    @property
    def gives(self):
        return {"sums", "factors", "served W"} | resets(self)

    def check_with(self, config):
        if self.shares:
            shares(config.heads, self.shares)

    def build(self, task: Task, config) -> Method:
        plan, w = config.adapters.plan(task.weights, config.heads, config.seed), weighed(task, config, self.shares)
        rule = config.rule.build(config)
        settings = self.merge_every, self.reset, self.reset_optimizer, self.loss_reduction, config.replicas
        keeps = "no reset" in self.gives  # only then is W_t - W_0 one LoRA (L1) of bounded rank (L2)
        holds = keeps and rule.bounded, keeps and rule.telescopes
        method = lte(task, plan, *settings, w, rule)._replace(facts=facts(task, plan, w, *holds))
        factor = task.shards if self.loss_reduction == "batch" else [1.0] * config.heads
        method = config.local_steps.wrap(method, task, plan, factor)
        return summed(method, task, plan, w) if config.topology.sums else method


def resets(chosen) -> set[str]:
    """What a method with a `reset` tells others of it: do heads keep their factors at a merge?"""
    return {"no reset" if chosen.reset == "none" else "reset"}


def weighed(task: Task, config, given: Sequence[float] = ()) -> list[float]:
    """The heads' shares w_n: those given, by their data where the rule asks for that, or equal."""
    by_data = any("shares by data" in part.gives for part in config.parts.values())
    return list(task.shards) if by_data else shares(config.heads, given)


def shares(heads: int, w: Sequence[float] = ()) -> list[float]:
    """The heads' shares w_n: 1/N each, or N from 0 up that sum to 1, so that a merge is a mean (L13); else BadInput.

    >>> shares(2), shares(2, [0.75, 0.25])
    ([0.5, 0.5], [0.75, 0.25])
    """
    w = [float(w_n) for w_n in w] or [1 / heads] * heads
    if len(w) != heads or not min(w) >= 0 or not abs(sum(w) - 1) <= 1e-9:
        raise BadInput(
            f"shares: expected {heads} shares of at least 0 that sum to 1, got {', '.join(map(str, w)):.60}"
        )
    return w


def facts(task: Task, plan: Plan, w: Sequence[float], bounded: bool, telescopes: bool) -> Facts:
    """The facts of LTE, where law L2 bounds the rank of W_t - W_0, and where law L1 makes it one LoRA."""

    def held(main: Main, head: Head, all_heads: bool):
        then = () if main.then is None else main.then if all_heads else main.then[head.index]
        trained = head.now, head.replica
        return {
            "weights": main.weights,
            "adapters": trained,
            "merged_factors": then,
            "rule": main.rule if all_heads else None,
            "gradients": trained,
            "optimizer": head.opt,
        }

    def resized(main: Main, heads: int):
        if main.then is None:  # V = 0
            return main
        joined = (tree.blank(plan.shape(n)) for n in range(len(main.then), heads))
        return main._replace(then=(*main.then[:heads], *joined))

    def V(main, n):
        return None if main.then is None else main.then[n]

    def still(main, n, said):
        replicas = replica_of(main.weights, said.factors) if said.replicas else {}
        return Sent(unmoved(said.factors, V(main, n)), replicas)

    def distance(main, n, said):
        sound = all(np.isfinite(leaf).all() for leaf in tree.leaves(said.replicas))
        return moved(said.factors, V(main, n), plan.scales[n]) if sound else math.inf

    def recover(main, head, fraction, step):
        """A bad head goes on from its V, with resets from its clipped factors; from fresh factors where A = 0."""
        now = V(main, head.index) or (head.now if fraction > 0 else {})
        if not any(pair.A.any() for pair in now.values()):
            now = plan.draw(head.index, step)
        return head._replace(now=now, opt=task.optimizer.init((now, head.replica)))

    return Facts(
        bound=largest_ranks(plan.ranks, task.weights) if bounded else {},
        held=held,
        factors=lambda main: main.then,
        one_lora=(lambda main, heads: (main.then, plan.scales, w)) if telescopes else None,
        resized=resized,
        still=still,
        distance=distance,
        recover=recover,
    )


def unmoved(now: Adapters, then: Adapters | None) -> Adapters:
    """The factors at the last merge; where V = 0, those with B = 0."""
    if then is not None:
        return then
    finite = {name: np.where(np.isfinite(pair.A), pair.A, 0) for name, pair in now.items()}
    return {name: Adapter(finite[name], np.zeros_like(pair.B)) for name, pair in now.items()}
