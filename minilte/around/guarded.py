"""Bad heads: a head that diverges must not take the others with it.

A head is bad at a merge when what it sends is not finite, or when it moved more than `FACTOR` times as far as the
median of the finite heads.

    stop   a head that is not finite ends the run
    skip   a bad head counts as if it had not moved: nothing of its round is merged, the other shares are not renormalised
    clip   a head that moved too far counts as far along its way as the limit; a head that is not finite is skipped

By law L1's second form the telescoping sum holds for the heads that took part: V changes only where something was merged.
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
HALVINGS = 40  # of the interval that holds a clipped head's fraction


class Guarded(NamedTuple):
    """A main state, and how much of each head counted at the last merge: 1 all, 0 nothing."""

    main: Tree
    trust: Array  # (N,)


@part("guard", "stop", gives={"all heads"})
class Stop:
    """A head that is not finite ends the run."""

    def wrap(self, method: Method, heads: int) -> Method:
        return stopping(method)


@part("guard", "skip", gives={"leaves out"}, needs={"each", "any number"})
class Skip:
    """A bad head counts as if it had not moved."""

    def wrap(self, method: Method, heads: int) -> Method:
        return guarded(method, heads, clip=False)


@part("guard", "clip", gives={"leaves out"}, needs={"each", "any number"})
class Clip:
    """A head that moved too far counts up to the limit."""

    def wrap(self, method: Method, heads: int) -> Method:
        return guarded(method, heads, clip=True)


def stopping(method: Method) -> Method:
    """The method; a head that sends what is not finite raises Diverged at the merge."""
    if method.adds:  # nothing of a single head arrives
        return method

    def merge(main, said, step, each):
        refuse_bad([float(finite(words)) for words in said])
        return method.merge(main, said, step, each)

    return method._replace(merge=merge)


def guarded(method: Method, heads: int, clip: bool) -> Method:
    """The method without its bad heads. Its facts must have `still`, `distance` and `recover`."""
    facts = known(method)
    if None in (facts.still, facts.distance, facts.recover):
        raise BadInput(
            "bad-heads: expected stop for a method without the facts still, distance and recover (see methods.facts)"
        )

    def counted(main, n, said, fraction):
        """What counts of a head: a fraction of its way from where it would be without moving."""
        if fraction == 1:
            return said
        start = facts.still(main, n, said)
        return start if fraction == 0 else along(start, said, fraction)

    def trusted(main, said, each):
        sizes = list(each(lambda n: facts.distance(main, n, said[n]), range(len(said))))
        sound = sorted(filter(math.isfinite, sizes)) or [0.0]
        limit = FACTOR * sound[(len(sound) - 1) // 2] or math.inf  # where half of them stand still, none is far
        trust = np.ones(len(said))
        for n, size in enumerate(sizes):
            if not math.isfinite(size) or (size > limit and not clip):
                trust[n] = 0.0
            elif size > limit:
                start = facts.still(main, n, said[n])
                trust[n] = fraction_within(limit, lambda f: facts.distance(main, n, along(start, said[n], f)))
        return trust

    def merge(state, said, step, each):
        trust = trusted(state.main, said, each)
        if not trust.any():
            refuse_bad(trust)
        counts = [counted(state.main, n, words, trust[n]) for n, words in enumerate(said)]
        return Guarded(method.merge(state.main, counts, step, each), trust)

    def hear(shown, head, step):
        if (fraction := shown.trust[head.index]) < 1:
            head = facts.recover(shown.main, head, fraction, step)
        return method.hear(shown.main, head, step)

    def view(shown, before, said):
        rest = dict(shown)
        trust = np.array(rest.pop("trust"))
        if said is not None:
            said = {n: counted(before.main, n, words, trust[n]) for n, words in said.items()}
        return Guarded(method.view(rest, before.main, said), trust)

    def inside(f):
        """The same of the main state in a guarded one."""
        return f and (lambda state, *rest: f(state.main, *rest))

    outer_facts = facts._replace(**{name: inside(f) for name, f in facts._asdict().items() if callable(f)})
    return method._replace(
        begin=lambda: Guarded(method.begin(), np.ones(heads)),
        local=inside(method.local),
        together=inside(method.together),
        like=lambda n, shown, step: method.like(n, shown.main, step),
        merge=merge,
        hear=hear,
        weights=inside(method.weights),
        show=lambda state, step: method.show(state.main, step) | {"trust": state.trust},
        frame=lambda: method.frame() | {"trust": np.ones(heads)},
        view=view,
        lasting=(*method.lasting, "trust"),  # a late head must know which merges left it out
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


def along(start: Tree, end: Tree, fraction: float) -> Tree:
    """A fraction of the way from one tree to another."""
    return tree.map(lambda old, new: (old + fraction * (new - old)).astype(new.dtype), start, end)


def fraction_within(limit: float, distance: Callable[[float], float]) -> float:
    """The largest fraction of its way after which a head has not moved further than the limit."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if distance(middle) <= limit else (low, middle)
    return low
