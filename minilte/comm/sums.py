"""Sums over heads, added in head order by slices: of numbers, or of rows of bytes that stand for them.

Every process gets its slice of what each head says, adds it, and sends the sum to all: two collectives, in which losses
ride along.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minilte.comm.blocks import block, rows_of_heads
from minilte.comm.buffers import as_bytes, cat, cut, filled, leaf_dtype, leaves_as, spans
from minilte.comm.communicator import Communicator
from minilte.core import tree
from minilte.core.types import Array, Tree


def of_numbers(comm: Communicator, trees: Sequence[Tree], like: Tree, notes: Sequence[float]) -> tuple[Tree, list]:
    """The sum of every head's tree, added in head order by slices: each process adds one slice, then all share.

    Sends ((P-1)/P) N M numbers in the first collective and (P-1) M in the second, over all processes; counted by the
    kinds at the top of the tree.
    """
    dtype = leaf_dtype(like)
    rows = np.empty((len(trees), tree.size(like)), dtype)  # of each head here, its tree as a vector
    for row, each in zip(rows, trees, strict=True):
        leaves = leaves_as(like, each)
        for place, leaf in zip(cut(row, [leaf.size for leaf in leaves]), leaves):
            place[:] = leaf.reshape(-1)
    slices = [block(tree.size(like), comm.size, process) for process in range(comm.size)]
    for kind, span in spans(like).items():
        inside = [len(range(max(s.start, span.start), min(s.stop, span.stop))) * dtype.itemsize for s in slices]
        comm.count_slices(kind, inside, len(trees))

    def added(mine):
        return as_bytes(in_order([row.view(dtype) for row in mine]))

    sizes = [len(piece) * dtype.itemsize for piece in slices]
    parts = [as_bytes(rows[:, piece.start : piece.stop]) for piece in slices]
    pieces, losses = comm.by_slices(parts, sizes, added, notes)
    return filled(np.concatenate(pieces), like), losses


def of_rows(
    comm: Communicator, trees: Sequence[dict], like: dict, add: Callable, notes: Sequence[float]
) -> tuple[dict, list]:
    """The same of rows of bytes, kind -> (k, width), none of which is cut. The slice of a process is that of its heads.

    `add` makes, of every head's rows in the slice of this process, the rows that all get.
    """
    trees = [dict(zip(like, leaves_as(like, each))) for each in trees]
    cuts = {kind: [rows_of_heads(len(rows), comm.heads, own) for own in comm.blocks] for kind, rows in like.items()}
    sizes = [{kind: len(cuts[kind][p]) * rows.shape[1] for kind, rows in like.items()} for p in range(comm.size)]
    for kind in like:
        comm.count_slices(kind, [inside[kind] for inside in sizes], len(trees))

    def seen(flat, process):
        parts = zip(like.items(), cut(flat, list(sizes[process].values())))
        return {kind: part.reshape(-1, rows.shape[1]) for (kind, rows), part in parts}

    def added(mine):
        made = add([seen(flat, comm.process) for flat in mine])
        return cat(made[kind] for kind in like)

    parts = [
        cat(each[kind][cuts[kind][p].start : cuts[kind][p].stop] for each in trees for kind in like)
        for p in range(comm.size)
    ]
    pieces, losses = comm.by_slices(parts, [sum(inside.values()) for inside in sizes], added, notes)
    everywhere = [seen(piece, process) for process, piece in enumerate(pieces)]
    return {kind: np.concatenate([part[kind] for part in everywhere]) for kind in like}, losses


def of_trees(trees: Sequence[Tree]) -> Tree:
    """The sum of trees that are all here, from the first to the last."""
    return tree.map(lambda *leaves: in_order(leaves), *trees)


def in_order(stack: Sequence[Array]) -> Array:
    """stack[0] + stack[1] + …, added from the first to the last.    (N,k)->(k,)"""
    total = stack[0].copy()
    for vector in stack[1:]:
        total += vector
    return total
