"""Who hears what at a merge: all hear all factors, all add up dense changes, or a master hears and tells.

    allgather   every rank gets every head's factors and makes the same merge          (N-1) N M_lte numbers
    allreduce   the heads' dense changes are added in head order, slice by slice        about 2 (N-1) M
    server      factors go up to the master on rank 0, the new weights go down to all   (N-1) (q M + M_lte)

The numbers are for N ranks with a head each; `traffic` has them for any. Each keeps the bits of a run for any number
of ranks; between them a run differs by rounding.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minilte.comm.wire import WIRES, Wire, as_sent, decoded, encoded, template
from minilte.core import tree
from minilte.core.head import overlay, replica_of
from minilte.core.layers import change
from minilte.core.lora import product
from minilte.core.merge import ALLGATHER, combined, contributions, mean
from minilte.core.types import Adapter, Array, Head, Main, Merging, Sent, Topology, Tree, Weights


def on_wire(wire: Wire, heads: Sequence[Sent]) -> list[Sent]:
    """Contributions with their factors as they travel; replicas travel as they are."""
    return [one._replace(factors=encoded(wire, one.factors)) for one in heads]


def off_wire(wire: Wire, heads: Sequence[Sent], like: Sequence[Sent]) -> list[Sent]:
    """Contributions as they arrived."""
    return [
        one._replace(factors=decoded(wire, one.factors, was.factors)) for one, was in zip(heads, like, strict=True)
    ]


def shapes(wire: Wire, like: Sequence[Sent]) -> list[Sent]:
    """Templates of contributions on the wire."""
    return [one._replace(factors=template(wire, one.factors)) for one in like]


def allgather(wire: Wire = WIRES["full"]) -> Topology:
    """Factors to everyone: the default, and the only one where every rank holds every V_n."""

    def merge(comm, main, heads, step, parts: Merging):
        mine, losses = on_wire(wire, contributions(heads)), [head.loss for head in heads]
        sent, losses = comm.gather(mine, shapes(wire, parts.like), losses)
        return combined(main, off_wire(wire, sent, parts.like), parts, comm.each), losses

    return ALLGATHER._replace(merge=merge, as_sent=lambda factors: as_sent(wire, factors))


def allreduce() -> Topology:
    """Every head multiplies out its own change, w_n s_n (B_n A_n - V_n); the sum of all is added to W.

    O(mn) numbers a head where factors would do, as dense data parallel training sends. Only for the mean.
    """

    def merge(comm, main, heads, step, parts: Merging):
        moves = [dense_change(head, parts) for head in heads]
        total, _ = comm.sum("deltas", moves, [0.0] * len(heads))
        like = [one._replace(factors={}) for one in parts.like]
        rest, losses = comm.gather([Sent({}, head.replica) for head in heads], like, [head.loss for head in heads])
        weights = overlay(main.weights, mean([one.replicas for one in rest], parts.w))
        weights |= {name: weights[name]._replace(W=weights[name].W + D) for name, D in total.items()}
        return main._replace(weights=weights), losses

    return ALLGATHER._replace(merge=merge, remembers=False)


def dense_change(head: Head, parts: Merging) -> dict[str, np.ndarray]:
    """w_n s_n (B_n A_n - V_n) of every adapted layer, as matrices."""

    def one(name, now: Adapter):
        moved = now if head.then is None else change(now, head.then[name])
        return product(moved._replace(B=parts.w[head.index] * parts.scales[head.index][name] * moved.B))

    return {name: one(name, now) for name, now in head.now.items()}


class Copy(NamedTuple):
    """How the heads see a master's weights: as copies, trees of arrays.

    look(W, layer, step) makes one; empty(shape, dtype) one to be written to; parts(copy) names what of it travels, by
    kind; view(copy) is what stands for W in a layer.
    """

    look: Callable[[Array, str, int], Tree]
    empty: Callable[[tuple, np.dtype], Tree]
    parts: Callable[[Tree], dict[str, Array]]
    view: Callable[[Tree], Tree]


WHOLE = Copy(lambda W, layer, step: W, np.empty, lambda W: {"weights": W}, lambda W: W)


class Served(NamedTuple):
    """What a rank holds under a master: the weights as the heads see them; on rank 0 also the main state."""

    weights: Weights
    copies: dict[str, Tree]  # of the adapted matrices
    master: Main | None
    trust: Array | None  # as in Main


def server(
    start: Weights, replica: Weights, adapted: Sequence[str], copy: Copy = WHOLE, wire: Wire = WIRES["full"]
) -> Topology:
    """A master on rank 0 holds W and every V_n; all heads, its own too, compute with a copy of W that it sends.

    `start` and `replica` are those of the task; on ranks other than 0 the adapted matrices may be templates without
    memory. A worker's copies stay where they are: each merge writes over the last.
    """

    def told(comm, main: Main | None, copies: dict, losses, step: int):
        """Down: a copy of every adapted matrix, and what is averaged, from the master to all."""
        if comm.rank == 0:
            copies = {name: copy.look(main.weights[name].W, name, step) for name in adapted}
        rest = tree.map(np.array, replica)  # to be written to
        if comm.rank == 0 and replica:
            rest = replica_of(main.weights, adapted)
        trust = np.ones(comm.heads) if main is None or main.trust is None else main.trust
        notes = comm.spread(by_kind(copies, copy) | {"replicas": rest}, [*losses, *trust])
        losses, trust = notes[: comm.heads], np.array(notes[comm.heads :])
        seen = {name: copy.view(one) for name, one in copies.items()}
        layers = overlay(start, rest)
        weights = {name: seen_as(layer, seen.get(name)) for name, layer in layers.items()}
        return Served(weights, copies, main, trust), losses

    def share(comm, main, step):
        blank = {name: copy.empty(start[name].W.shape, start[name].W.dtype) for name in adapted if comm.rank}
        return told(comm, main if comm.rank == 0 else None, blank, [0.0] * comm.heads, step)[0]

    def merge(comm, served, heads, step, parts: Merging):
        mine, losses = on_wire(wire, contributions(heads)), [head.loss for head in heads]
        heard = comm.collect(mine, shapes(wire, parts.like), losses)
        if heard is None:
            return told(comm, None, served.copies, [0.0] * comm.heads, step)
        sent, losses = heard
        main = combined(served.master, off_wire(wire, sent, parts.like), parts, comm.each)
        return told(comm, main, {}, losses, step)

    return Topology(share, merge, lambda served: served.master, lambda factors: as_sent(wire, factors))


def seen_as(layer, W):
    """The layer with another W; None leaves it."""
    return layer if W is None else layer._replace(W=W)


def by_kind(copies: dict[str, Tree], copy: Copy) -> dict[str, dict[str, Array]]:
    """What travels of the copies: kind -> layer -> array."""
    travels: dict[str, dict[str, Array]] = {}
    for name, one in copies.items():
        for kind, array in copy.parts(one).items():
            travels.setdefault(kind, {})[name] = array
    return travels
