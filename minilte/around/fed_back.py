"""A sum of factors on a thin wire, with error feedback: what is rounded away is sent with the next merge.

    head n    says C(w_n B_n + e_n);   e_n <- w_n B_n + e_n - what was said
    sum       S = what the heads said, decoded, in head order;   all get C(S);   a part of e_n takes S - C(S)

C codes rows of numbers, and no slice of the sum cuts one, so the codes do not depend on the number of processes. What the
sum loses on its way back falls, row by row, to the head whose row it is. So what was merged and what is still to be sent
add up to what the heads moved, exactly, as long as the basis lasts (law L21-wire). Momentum is coded without feedback: it is
replaced by its mean, not added. Replicas travel as they are.
Where somebody looks at every head, a master or a guard, heads code what they say, and nothing is coded on its way back. A head
that counted by a fraction f owes f (w_n B_n + e_n - what was said) + (1 - f) e_n; one of which nothing counted begins anew, with
e_n = 0, so that others know all of a head that is late.

Source of error feedback: Seide et al. 2014; Karimireddy et al. 2019.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilte.comm.blocks import rows_of_heads
from minilte.comm.buffers import as_bytes, filled
from minilte.comm.sums import in_order, of_trees
from minilte.core import tree
from minilte.core.head import of_head
from minilte.core.method import Method
from minilte.core.types import Array, Tree
from minilte.methods.facts import known
from minilte.quant.wire import FULL, Wire, empty, rows_of

THIN = ("factors", "momentum")  # the kinds that are coded


class Owing(NamedTuple):
    """A head, and what it has still to send of its factors."""

    head: Tree
    owed: Array  # e_n, factors as a vector
    said: dict | None = None  # what it says at the next merge, coded once; None between rounds
    back: Array | None = None  # what its rows of the sum lost on their way to all; None between rounds

    index, loss = of_head("index"), of_head("loss")


def fed_back(method: Method, wire: Wire, heads: int, master: bool) -> Method:
    """The method, which has a remainder among its facts, on a thin wire."""
    facts, summed = known(method), method.adds and not master
    longest, carried = facts.remainder
    blank = np.zeros(longest.size + -longest.size % wire.block, longest.dtype)

    def way(kind: str) -> Wire:
        return wire if kind in THIN else FULL

    def vector(factors: Tree) -> Array:
        """Factors as a vector of whole rows."""
        x = flat(factors, blank.dtype)
        return np.pad(x, (0, -x.size % wire.block))

    def wanted(worker: Owing, said: dict) -> Array:
        """The factors that a head would say, with what it owes."""
        x = vector(said["factors"])
        return x + worker.owed[: x.size]

    def local(shown, worker, start, stop):
        done = worker._replace(head=method.local(shown, worker.head, start, stop))
        return done._replace(said=tell(done))

    def tell(worker):
        if worker.said is not None:
            return worker.said
        said = method.tell(worker.head)
        rest = {kind: rows_of(way(kind), flat(of, blank.dtype)) for kind, of in said.items() if kind != "factors"}
        return rest | {"factors": wire.encode(wanted(worker, said))}

    def like(n, shown, step):
        said = method.like(n, shown, step)
        return {kind: empty(way(kind), tree.size(numbers), blank.dtype) for kind, numbers in said.items()}

    def answer(said: Sequence[dict], workers, whole):
        total = {kind: in_order([way(kind).decode(rows[kind], blank.dtype) for rows in said]) for kind in whole}
        rows = {kind: way(kind).encode(numbers) for kind, numbers in total.items()}
        lost = total["factors"] - wire.decode(rows["factors"], blank.dtype)
        ends = np.cumsum([wire.block * len(own_rows(len(whole["factors"]), worker)) for worker in workers])
        return rows, [worker._replace(back=part) for worker, part in zip(workers, np.split(lost, ends[:-1]))]

    def own_rows(rows: int, worker: Owing) -> range:
        """Those of so many rows of the factors whose loss falls to a head."""
        return rows_of_heads(rows, heads, range(worker.index, worker.index + 1))

    def decoded(rows: dict, said: dict) -> dict:
        """What a head says, or the sum, as numbers again; `said` is a template."""
        return {kind: shaped(way(kind).decode(rows[kind], blank.dtype), said[kind]) for kind in said}

    def merge(main, said, step, each):
        if not summed:
            said = [decoded(rows, method.like(n, main, step)) for n, rows in enumerate(said)]
            total = of_trees(said) if method.adds else said
        else:
            total = decoded(said, method.like(0, main, step))
        return method.merge(main, total, step, each)

    def hear(shown, worker, step):
        trust, after = facts.trust(shown), method.hear(shown, worker.head, step)
        fraction = 1.0 if trust is None else float(trust[worker.index])  # a NumPy number would widen a float32
        if fraction == 0:
            return Owing(after, blank)
        # f C(x) was merged, of f w_n B_n and what was owed
        x, said = wanted(worker, method.tell(worker.head)), wire.decode(tell(worker)["factors"], blank.dtype)
        left = fraction * (x - said) + (1 - fraction) * worker.owed[: x.size]
        if worker.back is not None:
            mine = own_rows(left.size // wire.block, worker)
            left[wire.block * mine.start : wire.block * mine.stop] += worker.back
        owed = vector(carried(shaped(left, method.like(worker.index, shown, step)["factors"]), step))
        return Owing(after, np.pad(owed, (0, blank.size - owed.size)))

    def held(main, worker, all_heads):
        return facts.held(main, worker.head, all_heads) | {"merged_factors": worker.owed}

    return method._replace(
        enter=lambda n: Owing(method.enter(n), blank),
        local=local,
        tell=tell,
        like=like,
        merge=merge,
        hear=hear,
        view=lambda shown, before, said: method.view(shown, before, None),  # there is no V_n to keep of what was said
        adds=summed,
        answer=answer if summed else None,
        facts=facts._replace(held=held),
    )


def flat(numbers: Tree, dtype: np.dtype) -> Array:
    """The numbers of a tree as a vector."""
    leaves = [leaf.reshape(-1) for leaf in tree.leaves(numbers)]
    return np.concatenate(leaves) if leaves else np.empty(0, dtype)


def shaped(x: Array, like: Tree) -> Tree:
    """The first numbers of a vector in the shapes of a tree."""
    return filled(as_bytes(x[: tree.size(like)]), like)
