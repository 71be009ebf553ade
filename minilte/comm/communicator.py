"""The communicator of the core: heads on any number of ranks, gathered and summed in head order.

All that differs between one process, MPI and ranks played by threads is the transport below it: who `rank` of `size`
is, and how bytes get from one to others. The order of every sum is that of the heads, so the bits are the same on any
number of ranks. Rank 0 always has a head, and is the master where there is one.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from minilte.comm.buffers import cat, filled, kinds, leaf_dtype, nbytes
from minilte.comm.traffic import share
from minilte.core import tree
from minilte.core.errors import RanksDisagree
from minilte.core.types import Array, Tree


class Transport(Protocol):
    """What a way of running ranks must offer. Buffers are uint8 vectors; every rank calls, in the same order."""

    rank: int
    size: int

    def allgather(self, mine: Array, counts: Sequence[int]) -> Array:
        """Every rank's bytes, one after the other; `counts` says how many each rank has."""

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        """parts[p] goes to rank p; returns what each rank sent here, `counts[p]` bytes from rank p."""

    def gather(self, mine: Array, counts: Sequence[int]) -> Array | None:
        """Every rank's bytes, one after the other, on rank 0; None elsewhere."""

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        """Rank 0's bytes into the buffers of every other rank; `newest`: what was sent so before is of no more use."""

    def objects(self, mine) -> list:
        """Every rank's small Python object, by rank: for agreement, not for weights."""

    def to_root(self, mine) -> list | None:
        """Every rank's object, by rank, on rank 0; None elsewhere."""


class Ranks:
    """Implements `core.types.Comm` on a transport.

    `threads` > 1 runs the heads of this rank on that many Python threads; each head's arithmetic is its own, so the
    bits do not change. `sent` counts, by kind, the bytes this rank handed over for others; `stop` is what the ranks
    agreed on at the last merge: the largest signal number any of them was sent.
    """

    def __init__(self, transport: Transport, heads: int, threads: int = 1):
        self.transport, self.heads = transport, heads
        self.rank, self.size = transport.rank, transport.size
        self.blocks = [share(heads, self.size, rank) for rank in range(self.size)]
        self.mine = self.blocks[self.rank]
        self.pool = ThreadPoolExecutor(threads) if threads > 1 and len(self.mine) > 1 else None
        self.sent: Counter[str] = Counter()
        self.wish = self.stop = 0
        self.tag, self.met = 0, 0  # what all ranks must share of a run, and how many merges they have had

    def each(self, f: Callable[[Tree], Tree], heads: Sequence[Tree]) -> list[Tree]:
        """f of every item, in order: of the heads that live here, or of parts of a merge."""
        return list((self.pool.map if self.pool else map)(f, heads))

    def gather(self, trees: Sequence[Tree], like: Sequence[Tree], notes: Sequence[float]) -> tuple[list, list]:
        """Every head's tree and note, in head order; `like` gives the shapes of all N. One collective."""
        sizes, counts = self._sizes(like)
        buffer = self.transport.allgather(cat([*tree.leaves(list(trees)), self._note(notes)]), counts)
        self._count(trees, self.size - 1, 8 * (len(self.mine) + 2))
        return self._heads(buffer, sizes, like)

    def collect(
        self, trees: Sequence[Tree], like: Sequence[Tree], notes: Sequence[float]
    ) -> tuple[list, list] | None:
        """What `gather` returns, on rank 0 alone; None elsewhere. One collective."""
        sizes, counts = self._sizes(like)
        buffer = self.transport.gather(cat([*tree.leaves(list(trees)), self._note(notes)]), counts)
        self._count(trees, int(self.rank != 0), 8 * (len(self.mine) + 2))
        return None if buffer is None else self._heads(buffer, sizes, like)

    def spread(self, given: Tree, notes: Sequence[float]) -> list[float]:
        """Rank 0's numbers into every other rank's `given`, array by array, and its notes to all: as many as given."""
        header = np.array([*notes, self.stop, self._mark()], np.float64)
        self.transport.broadcast(header.view(np.uint8))
        self._compare([header[-1], self._mark()])
        self.transport.broadcast(*(leaf.reshape(-1).view(np.uint8) for leaf in tree.leaves(given)), newest=True)
        if self.rank == 0:
            self._count([given], self.size - 1, header.nbytes)
        *losses, stop, _ = header.tolist()
        self.stop = int(stop)
        return losses

    def sum(self, kind: str, trees: Sequence[Tree], notes: Sequence[float]) -> tuple[Tree, list]:
        """The sum of every head's tree, added in head order by slices: each rank adds one slice, then all share.

        Sends ((P-1)/P) N M numbers in the first collective and (P-1) M in the second, over all ranks.
        """
        like, dtype = self._shapes(trees)
        flat = [cat(tree.leaves(one)).view(dtype) for one in trees]
        slices = [share(tree.size(like), self.size, rank) for rank in range(self.size)]
        here = len(slices[self.rank]) * dtype.itemsize
        parts = [cat(one[piece.start : piece.stop] for one in flat) for piece in slices]
        arrived = self.transport.alltoall(parts, [len(block) * here for block in self.blocks])
        mine = in_order(np.concatenate(arrived).view(dtype).reshape(self.heads, -1))
        sizes = [len(piece) * dtype.itemsize for piece in slices]
        buffer = self.transport.allgather(cat([mine, self._note(notes)]), self._counts(sizes))
        self.sent[kind] += sum(part.nbytes for rank, part in enumerate(parts) if rank != self.rank)
        self._count([{kind: mine}], self.size - 1, 8 * (len(self.mine) + 2))
        pieces, losses = self._cut(buffer, sizes)
        return filled(np.concatenate(pieces), like), losses

    def _shapes(self, trees: Sequence[Tree]) -> tuple[Tree, np.dtype]:
        """The template of a summed tree; a rank without heads learns it once from rank 0."""
        if not hasattr(self, "_like"):
            offered = self.transport.objects(tree.blank(trees[0]) if self.rank == 0 else None)
            self._like = offered[0]
        return self._like, leaf_dtype(self._like)

    def _note(self, notes: Sequence[float]) -> Array:
        """What rides behind the payload: a number a head, this rank's wish to stop, and what it takes the run to be."""
        self.met += 1
        return np.array([*notes, self.wish, self._mark()], np.float64)

    def _mark(self) -> int:
        """The run and the merge that this rank believes to be in, as one number that a float64 holds."""
        return (self.tag % 2**20) * 2**32 + self.met % 2**32

    def _compare(self, marks: Sequence[float]) -> None:
        """Raises RanksDisagree, naming a rank that is elsewhere; one that missed the merge has no mark."""
        for rank, mark in enumerate(marks):
            if mark != marks[0] and not math.isnan(mark):
                (run, met), (other, first) = divmod(int(mark), 2**32), divmod(int(marks[0]), 2**32)
                what = f"merge {met} where rank 0 is at merge {first}" if run == other else "another run than rank 0"
                trouble = RanksDisagree(f"rank {rank}: is at {what}; start all ranks alike, then --resume")
                trouble.agreed = len(marks) == self.size
                raise trouble

    def _sizes(self, like: Sequence[Tree]) -> tuple[list[int], list[int]]:
        """Bytes of every rank's heads, without and with what rides behind them."""
        sizes = [nbytes(list(like[block.start : block.stop])) for block in self.blocks]
        return sizes, self._counts(sizes)

    def _counts(self, sizes: Sequence[int]) -> list[int]:
        """Bytes of every rank's payload and notes."""
        return [size + 8 * (len(block) + 2) for size, block in zip(sizes, self.blocks)]

    def _count(self, trees: Sequence[Tree], others: int, header: int) -> None:
        """These trees and a header went to so many others."""
        for one in trees:
            for kind, size in kinds(one).items():
                self.sent[kind] += size * others
        self.sent["headers"] += header * others

    def _cut(self, buffer: Array, sizes: Sequence[int]) -> tuple[list[Array], list[float]]:
        """Every rank's payload (a view of the buffer) and every head's note; agrees on `stop`."""
        parts, losses, wishes, marks, at = [], [], [], [], 0
        for size, count in zip(sizes, self._counts(sizes)):
            parts.append(buffer[at : at + size])
            *heard, wish, mark = buffer[at + size : at + count].copy().view(np.float64).tolist()
            losses += heard
            wishes.append(wish)
            marks.append(mark)
            at += count
        self._compare(marks)
        self.stop = int(np.nanmax(wishes))
        return parts, losses

    def _heads(self, buffer: Array, sizes: Sequence[int], like: Sequence[Tree]) -> tuple[list, list]:
        """Every head's tree and note out of all ranks' bytes."""
        parts, losses = self._cut(buffer, sizes)
        ranks = [filled(part, list(like[block.start : block.stop])) for part, block in zip(parts, self.blocks)]
        return [head for heads in ranks for head in heads], losses


def in_order(stack: Array) -> Array:
    """stack[0] + stack[1] + …, added from the first to the last.    (N,k)->(k,)"""
    total = stack[0].copy()
    for one in stack[1:]:
        total += one
    return total
