"""The communicator of the core: heads on any number of ranks, gathered and summed in head order.

All that differs between one process, MPI and ranks played by threads is the transport below it: who `rank` of `size`
is, and how bytes get from all to all. The order of every sum is that of the heads, so the bits are the same on any
number of ranks.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from minilte.comm.traffic import share
from minilte.core import tree
from minilte.core.types import Array, Tree


class Transport(Protocol):
    """What a way of running ranks must offer. Buffers are uint8 vectors; every rank calls, in the same order."""

    rank: int
    size: int

    def allgather(self, mine: Array, counts: Sequence[int]) -> Array:
        """Every rank's bytes, one after the other; `counts` says how many each rank has."""

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        """parts[p] goes to rank p; returns what each rank sent here, `counts[p]` bytes from rank p."""

    def objects(self, mine) -> list:
        """Every rank's small Python object, by rank: for agreement, not for weights."""

    def to_root(self, mine) -> list | None:
        """Every rank's object, by rank, on rank 0; None elsewhere."""


class Ranks:
    """Implements `core.types.Comm` on a transport.

    `threads` > 1 runs the heads of this rank on that many Python threads; each head's arithmetic is its own, so the
    bits do not change. `sent` counts the payload bytes this rank handed over to others, `stop` is what the ranks
    agreed on at the last merge: the largest signal number any of them was sent.
    """

    def __init__(self, transport: Transport, heads: int, threads: int = 1):
        self.transport, self.heads = transport, heads
        self.rank, self.size = transport.rank, transport.size
        self.blocks = [share(heads, self.size, rank) for rank in range(self.size)]
        self.mine = self.blocks[self.rank]
        self.pool = ThreadPoolExecutor(threads) if threads > 1 and len(self.mine) > 1 else None
        self.sent = 0
        self.wish = self.stop = 0

    def each(self, f: Callable[[Tree], Tree], heads: Sequence[Tree]) -> list[Tree]:
        """f of every item, in order: of the heads that live here, or of parts of a merge."""
        return list((self.pool.map if self.pool else map)(f, heads))

    def gather(self, trees: Sequence[Tree], like: Sequence[Tree], notes: Sequence[float]) -> tuple[list, list]:
        """Every head's tree and note, in head order; `like` gives the shapes of all N. One collective."""
        dtype = leaf_dtype(like)
        sizes = [dtype.itemsize * sum(tree.size(like[n]) for n in block) for block in self.blocks]
        parts, losses = self._allgather(tree.leaves(list(trees)), sizes, notes)
        heads = [
            tree.unpack(part.view(dtype), like[block.start : block.stop]) for part, block in zip(parts, self.blocks)
        ]
        return [head for block in heads for head in block], losses

    def sum(self, trees: Sequence[Tree], notes: Sequence[float]) -> tuple[Tree, list]:
        """The sum of every head's tree, added in head order by slices: each rank adds one slice, then all share.

        Sends ((P-1)/P) N M numbers in the first collective and (P-1) M in the second, over all ranks.
        """
        like, dtype = self._shapes(trees)
        flat = [tree.pack(one, dtype) for one in trees]
        slices = [share(tree.size(like), self.size, rank) for rank in range(self.size)]
        here = len(slices[self.rank]) * dtype.itemsize
        parts = [cat(one[piece.start : piece.stop] for one in flat) for piece in slices]
        arrived = self.transport.alltoall(parts, [len(block) * here for block in self.blocks])
        self.sent += sum(part.nbytes for rank, part in enumerate(parts) if rank != self.rank)
        mine = in_order(np.concatenate(arrived).view(dtype).reshape(self.heads, -1))
        parts, losses = self._allgather([mine], [len(piece) * dtype.itemsize for piece in slices], notes)
        return tree.unpack(np.concatenate(parts).view(dtype), like), losses

    def _shapes(self, trees: Sequence[Tree]) -> tuple[Tree, np.dtype]:
        """The template of a summed tree; a rank without heads learns it once from rank 0, which always has one."""
        if not hasattr(self, "_like"):
            offered = self.transport.objects(tree.blank(trees[0]) if self.rank == 0 else None)
            self._like = offered[0]
        return self._like, leaf_dtype(self._like)

    def _allgather(self, mine: Sequence[Array], sizes: Sequence[int], notes: Sequence[float]) -> tuple[list, list]:
        """Every rank's bytes (views of one buffer), and every head's note; the notes ride behind the payload."""
        note = np.array([*notes, self.wish], np.float64)
        extra = [8 * (len(block) + 1) for block in self.blocks]
        counts = [size + more for size, more in zip(sizes, extra)]
        buffer = self.transport.allgather(cat([*mine, note]), counts)
        self.sent += (counts[self.rank] - extra[self.rank]) * (self.size - 1)
        parts, losses, wishes, at = [], [], [], 0
        for size, more in zip(sizes, extra):
            parts.append(buffer[at : at + size])
            *heard, wish = buffer[at + size : at + size + more].copy().view(np.float64)
            losses += heard
            wishes.append(int(wish))
            at += size + more
        self.stop = max(wishes)
        return parts, [float(loss) for loss in losses]


def as_bytes(array: Array) -> Array:
    """The array's memory as a uint8 vector (a view)."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def cat(parts) -> Array:
    """The parts one after the other as bytes; no parts make an empty vector."""
    parts = [as_bytes(part) for part in parts]
    return np.concatenate(parts) if parts else np.empty(0, np.uint8)


def in_order(stack: Array) -> Array:
    """stack[0] + stack[1] + …, added from the first to the last.    (N,k)->(k,)"""
    total = stack[0].copy()
    for one in stack[1:]:
        total += one
    return total


def leaf_dtype(trees: Tree) -> np.dtype:
    """The one dtype of all leaves; float32 for a tree without any."""
    kinds = {leaf.dtype for leaf in tree.leaves(trees)} or {np.dtype(np.float32)}
    assert len(kinds) == 1, f"a tree that travels has one dtype, got {kinds}"
    return kinds.pop()
