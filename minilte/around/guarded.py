"""Heads that are not sound: one that has gone astray must not take the others with it.

A head is bad at a merge when what it says is not finite, or when it moved more than `FACTOR` times as far as the
median of those that are.

    stop   a head that is not finite ends the run
    skip   a bad head counts as if it had not moved: nothing of its round is merged, the other shares are not renormalised
    clip   a head that moved too far counts as far along its way as the limit; one that is not finite is skipped

By law L1's second form the telescoping sum holds for those that took part: V changes only where something was merged.
The head goes on from what was merged of it, with fresh optimizer state.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minilte.core import tree
from minilte.core.errors import BadInput, Diverged
from minilte.core.method import Method
from minilte.core.types import Array, Tree
from minilte.methods.facts import known
from minilte.settings.part import part

FACTOR = 3.0  # times the median
HALVINGS = 40  # of the part of its way that a head is clipped to


class Guarded(NamedTuple):
    """A main state, and how much of each head counted at the last merge: 1 all, 0 nothing."""

    main: Tree
    trust: Array  # (N,)


@part("guard", "stop", gives={"all heads"})
class Stop:
    """A head that is not finite ends the run."""

    def wrap(self, method: Method, heads: int) -> Method:
        """The method with this guard."""
        return stopping(method)


@part("guard", "skip", gives={"leaves out"}, needs={"each", "any number"})
class Skip:
    """A bad head counts as if it had not moved."""

    def wrap(self, method: Method, heads: int) -> Method:
        """The method with this guard."""
        return guarded(method, heads, clip=False)


@part("guard", "clip", gives={"leaves out"}, needs={"each", "any number"})
class Clip:
    """A head that moved too far counts up to the limit."""

    def wrap(self, method: Method, heads: int) -> Method:
        """The method with this guard."""
        return guarded(method, heads, clip=True)


def stopping(method: Method) -> Method:
    """The method; a head whose words are not finite raises Diverged at the merge."""
    if method.adds:  # a single head is not heard
        return method

    def merge(main, said, step, each):
        refuse_bad([float(finite(words)) for words in said])
        return method.merge(main, said, step, each)

    return method._replace(merge=merge)


def guarded(method: Method, heads: int, clip: bool) -> Method:
    """The method without its bad heads. It must say how far a head moved, and what it says when it stands still."""
    facts = known(method)
    if facts.still is None or facts.distance is None or facts.recover is None:
        raise BadInput(
            "bad-heads: expected stop for a method that does not say how far a head moved (see methods.facts)"
        )

    def counted(main, n, said, part):
        """What counts of a head: a part of its way from where it would be without moving."""
        if part == 1:
            return said
        start = facts.still(main, n, said)
        return start if part == 0 else along(start, said, part)

    def trusted(main, said, each):
        sizes = list(each(lambda n: facts.distance(main, n, said[n]), range(len(said))))
        known = sorted(filter(math.isfinite, sizes)) or [0.0]
        limit = FACTOR * known[(len(known) - 1) // 2] or math.inf  # where half of them stand still, none is far
        trust = np.ones(len(said))
        for n, size in enumerate(sizes):
            if not math.isfinite(size) or (size > limit and not clip):
                trust[n] = 0.0
            elif size > limit:
                start = facts.still(main, n, said[n])
                trust[n] = part_within(limit, lambda part: facts.distance(main, n, along(start, said[n], part)))
        return trust

    def merge(state, said, step, each):
        trust = trusted(state.main, said, each)
        if not trust.any():
            refuse_bad(trust)
        counts = [counted(state.main, n, words, trust[n]) for n, words in enumerate(said)]
        return Guarded(method.merge(state.main, counts, step, each), trust)

    def hear(shown, head, step):
        if (part := shown.trust[head.index]) < 1:
            head = facts.recover(shown.main, head, part, step)
        return method.hear(shown.main, head, step)

    def view(told, before, said):
        trust = np.array(told["trust"])
        rest = {kind: words for kind, words in told.items() if kind != "trust"}
        if said is not None:
            said = {n: counted(before.main, n, words, trust[n]) for n, words in said.items()}
        return Guarded(method.view(rest, before.main, said), trust)

    def together(shown, heads_here, start, stop, each):
        return method.together(shown.main, heads_here, start, stop, each)

    def inside(fact):
        return fact and (lambda state, *rest: fact(state.main, *rest))

    outer_facts = facts._replace(**{name: inside(f) for name, f in facts._asdict().items() if callable(f)})
    return method._replace(
        begin=lambda: Guarded(method.begin(), np.ones(heads)),
        local=lambda shown, head, start, stop: method.local(shown.main, head, start, stop),
        together=together if method.together else None,
        like=lambda n, shown, step: method.like(n, shown.main, step),
        merge=merge,
        hear=hear,
        weights=lambda state: method.weights(state.main),
        show=lambda state, step: method.show(state.main, step) | {"trust": state.trust},
        frame=lambda: method.frame() | {"trust": np.ones(heads)},
        view=view,
        lasting=(*method.lasting, "trust"),  # a head that comes late must know which merges left it out
        facts=outer_facts._replace(
            resized=facts.resized and (lambda state, N: Guarded(facts.resized(state.main, N), np.ones(N))),
            trust=lambda state: state.trust,
        ),
    )


def refuse_bad(trust: Sequence[float]) -> None:
    """Raises Diverged, naming the first head that is not trusted."""
    if 0.0 in trust:
        raise Diverged(
            f"head {list(trust).index(0.0)}: its factors are no longer finite; lower --lr, or set --clip or --bad-heads skip"
        )


def finite(numbers: Tree) -> bool:
    """Is every number finite?"""
    return all(np.isfinite(leaf).all() for leaf in tree.leaves(numbers))


def along(start: Tree, end: Tree, part: float) -> Tree:
    """A part of the way from one tree to another."""
    return tree.map(lambda old, new: (old + part * (new - old)).astype(new.dtype), start, end)


def part_within(limit: float, distance: Callable[[float], float]) -> float:
    """The largest part of its way after which a head has not moved further than the limit."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if distance(middle) <= limit else (low, middle)
    return low
