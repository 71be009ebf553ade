"""Heads that are not sound: one that has gone astray must not take the others with it.

A head is bad at a merge when its factors are no longer finite, or when it moved more than `FACTOR` times as far as the
median of those that are, by |s (B A - V)| over all layers.

    stop   a head that is not finite ends the run
    skip   a bad head counts with V: nothing of its round is merged, and the other shares are not renormalised
    clip   a head that moved too far counts as far along its way as the limit; one that is not finite is skipped

By law L1's second form the telescoping sum holds for those that took part: V changes only where something was merged.
The head goes on from what was merged of it, with fresh optimizer state.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from minilte.core import tree
from minilte.core.errors import Diverged
from minilte.core.head import replica_of
from minilte.core.layers import change
from minilte.core.types import Adapter, Adapters, Guard, Head, Main, Sent, Task, Tree

POLICIES = ("stop", "skip", "clip")
FACTOR = 3.0  # times the median
HALVINGS = 40  # of the part of its way that a head is clipped to


def guard(policy: str, agreed: bool = True) -> Guard:
    """The guard of a policy. `agreed`: every rank looks at the same heads, so all of them raise together."""

    def check(sent: Sequence[Sent], main: Main, scales, each: Callable = map):
        then = main.then or [None] * len(sent)
        trust = trusted(sent, then, scales, policy, each)
        if not trust.any() or (policy == "stop" and not trust.all()):
            trouble = Diverged(
                f"head {int(np.argmin(trust))}: its factors are no longer finite; lower --lr, or set --clip or --bad-heads skip"
            )
            trouble.agreed = agreed
            raise trouble
        return [
            one if trust[n] == 1 else Sent(counted(one.factors, then[n], trust[n]), replicas(one, main, trust[n]))
            for n, one in enumerate(sent)
        ], trust

    return Guard(np.ones, check, recover)


def trusted(sent: Sequence[Sent], then, scales, policy: str, each: Callable = map) -> np.ndarray:
    """(N,): how much of its way each head is trusted with, 1 for a sound one and 0 for one that is left out."""

    if policy == "stop":  # how far does not matter
        return np.array([float(finite(one)) for one in sent])

    def moved(n):
        return distance(sent[n].factors, then[n], scales[n]) if finite(sent[n].replicas) else math.inf

    sizes = list(each(moved, range(len(sent))))
    known = sorted(filter(math.isfinite, sizes)) or [0.0]
    limit = FACTOR * known[(len(known) - 1) // 2] or math.inf  # where half of them stand still, none is far
    trust = np.ones(len(sent))
    for n, size in enumerate(sizes):
        if not math.isfinite(size) or (size > limit and policy == "skip"):
            trust[n] = 0.0
        elif size > limit:
            trust[n] = part_within(limit, sent[n].factors, then[n], scales[n])
    return trust


def finite(numbers: Tree) -> bool:
    """Is every number finite?"""
    return all(np.isfinite(leaf).all() for leaf in tree.leaves(numbers))


def distance(now: Adapters, then: Adapters | None, scales: dict[str, float]) -> float:
    """How far a head moved since the last merge: |s (B A - V)|_F over all layers, from the factors alone.

    |B A|^2 = sum of (B^T B) * (A A^T), two r x r matrices. Infinite where a factor is not finite, or too large to square.
    """
    total = 0.0
    for name, pair in now.items():
        A, B = pair if then is None else change(pair, then[name])
        total += scales[name] ** 2 * float(np.sum((B.T @ B).astype(np.float64) * (A @ A.T)))
    return math.sqrt(max(0.0, total)) if math.isfinite(total) else math.inf


def part_within(limit: float, now: Adapters, then: Adapters | None, scales: dict[str, float]) -> float:
    """The largest part of its way after which a head has not moved further than the limit."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if distance(along(now, then, middle), then, scales) <= limit else (low, middle)
    return low


def along(now: Adapters, then: Adapters | None, part: float) -> Adapters:
    """The factors after a part of their way from those of the last merge (B = 0 where there are none)."""
    if then is None:
        return {name: Adapter(pair.A, (part * pair.B).astype(pair.B.dtype)) for name, pair in now.items()}
    return tree.map(lambda new, old: (old + part * (new - old)).astype(new.dtype), now, then)


def counted(now: Adapters, then: Adapters | None, part: float) -> Adapters:
    """What counts of a head at a merge: a part of its way; for 0 its V, whatever its factors are."""
    if part > 0:
        return along(now, then, part)
    return tree.map(np.zeros_like, now) if then is None else then


def replicas(one: Sent, main: Main, part: float):
    """The same part of the way for the parameters that are averaged, from the main ones on."""
    if not one.replicas:
        return one.replicas
    start = replica_of(main.weights, one.factors)
    if part == 0:
        return start
    return tree.map(lambda new, old: (old + part * (new - old)).astype(new.dtype), one.replicas, start)


def recover(task: Task, head: Head, part: float, sent: Adapters, fresh: Adapters) -> tuple[Head, Adapters]:
    """A bad head goes on from what was merged of it (its V), or from fresh factors where that was nothing at all."""
    V = counted(sent, head.then, part)
    now = V if any(pair.A.any() for pair in V.values()) else fresh
    return head._replace(now=now, opt=task.optimizer.init((now, head.replica))), V
