"""The communicator of the core: heads on any number of processes, gathered and summed in head order.

All that differs between one process, MPI and processes played by threads is the transport below it: who `process` of `size`
is, and how bytes get from one to others. The order of every sum is that of the heads, so the bits are the same on any
number of processes. Process 0 always has a head, and is the master where there is one.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from minilte.comm.blocks import block
from minilte.comm.buffers import cat, filled, kinds, leaf_dtype, leaves_as, spans
from minilte.core import tree
from minilte.core.errors import ProcessesDisagree
from minilte.core.types import Array, Tree


class Eyes(NamedTuple):
    """What a waiting process does about the others: how long it waits, its sign of life, whom it misses."""

    limit: float = 600.0  # seconds
    beat: Callable[[], None] = lambda: None
    silent: Callable[[float], str] = lambda waited: f"some process: silent for more than {waited:.0f} s"


class Transport(Protocol):
    """What a way of running processes must offer. Buffers are uint8 vectors; all call, in the same order."""

    process: int
    size: int
    eyes: Eyes | None  # None: nobody can go silent
    late: Set[int]  # the processes that missed the last merge; empty where all are waited for

    def allgather(self, mine: Array, counts: Sequence[int]) -> Array:
        """Every process's bytes, one after the other; `counts` says how many each process has."""

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        """parts[p] goes to process p; returns what each process sent here, `counts[p]` bytes from process p."""

    def gather(self, mine: Array, counts: Sequence[int]) -> Array | None:
        """Every process's bytes, one after the other, on process 0; None elsewhere."""

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        """Process 0's bytes into the buffers of every other process; `newest`: what was sent so before is of no more use."""

    def objects(self, mine) -> list:
        """Every process's small Python object, by process: for agreement, not for weights."""

    def to_root(self, mine) -> list | None:
        """Every process's object, by process, on process 0; None elsewhere."""


class Communicator:
    """Implements `core.method.Comm` on a transport.

    `threads` > 1 runs the heads of this process on that many Python threads; each head's arithmetic is its own, so the
    bits do not change. `sent` counts, by kind, the bytes this process handed over for others; `stop` is what the processes
    agreed on at the last merge: the largest signal number any of them was sent.
    """

    def __init__(self, transport: Transport, heads: int, threads: int = 1):
        self.transport, self.heads = transport, heads
        self.process, self.size = transport.process, transport.size
        self.blocks = [block(heads, self.size, process) for process in range(self.size)]
        self.mine = self.blocks[self.process]
        self.pool = ThreadPoolExecutor(threads) if threads > 1 and len(self.mine) > 1 else None
        self.sent: Counter[str] = Counter()
        self.wish = self.stop = 0
        self.tag, self.met = 0, 0  # what all processes must share of a run, and how many merges they have had

    def each(self, f: Callable[[Tree], Tree], heads: Sequence[Tree]) -> list[Tree]:
        """f of every item, in order: of the heads that live here, or of parts of a merge."""
        return list((self.pool.map if self.pool else map)(f, heads))

    def gather(self, trees: Sequence[Tree], like: Sequence[Tree], notes: Sequence[float]) -> tuple[list, list]:
        """Every head's tree and note, in head order; `like` gives the shapes of all N. One collective."""
        sizes, counts = self._sizes(like)
        buffer = self.transport.allgather(cat([*self._leaves(trees, like), self._note(notes)]), counts)
        self._count(trees, self.size - 1, 8 * (len(self.mine) + 2))
        heads, losses = self._heads(buffer, sizes, like, agreed=True)
        heads[self.mine.start : self.mine.stop] = trees  # what is here need not be read back
        return heads, losses

    def collect(
        self, trees: Sequence[Tree], like: Sequence[Tree], notes: Sequence[float]
    ) -> tuple[list, list] | None:
        """What `gather` returns, on process 0 alone; None elsewhere. One collective."""
        sizes, counts = self._sizes(like)
        buffer = self.transport.gather(cat([*self._leaves(trees, like), self._note(notes)]), counts)
        self._count(trees, int(self.process != 0), 8 * (len(self.mine) + 2))
        return None if buffer is None else self._heads(buffer, sizes, like, agreed=False)

    def spread(self, given: dict[str, Tree], notes: Sequence[float], lasting: Sequence[str] = ()) -> list[float]:
        """Process 0's numbers into every other process's `given`, array by array, and its notes to all: as many as given.

        A process that is late gets the newest of it alone, but for the kinds that are `lasting`.
        """
        header = np.array([*notes, self.stop, self._mark()], np.float64)
        self.transport.broadcast(header.view(np.uint8))
        self._compare({0: header[-1], self.process: self._mark()}, agreed=False)
        if self.process == 0:
            self._count([given], self.size - 1, header.nbytes)
        if lasting:
            self.transport.broadcast(*memory([given[kind] for kind in lasting]))
            given = {kind: numbers for kind, numbers in given.items() if kind not in lasting}
        self.transport.broadcast(*memory(given), newest=True)
        *losses, stop, _ = header.tolist()
        self.stop = int(stop)
        return losses

    def sum(self, trees: Sequence[Tree], like: Tree, notes: Sequence[float]) -> tuple[Tree, list]:
        """The sum of every head's tree, added in head order by slices: each process adds one slice, then all share.

        Sends ((P-1)/P) N M numbers in the first collective and (P-1) M in the second, over all processes; counted by the
        kinds at the top of the tree.
        """
        dtype = leaf_dtype(like)
        flat = [cat(leaves_as(like, vector)).view(dtype) for vector in trees]
        slices = [block(tree.size(like), self.size, process) for process in range(self.size)]
        here = len(slices[self.process]) * dtype.itemsize
        parts = [cat(vector[piece.start : piece.stop] for vector in flat) for piece in slices]
        arrived = self.transport.alltoall(parts, [len(own) * here for own in self.blocks])
        mine = in_order(np.concatenate(arrived).view(dtype).reshape(self.heads, -1))
        sizes = [len(piece) * dtype.itemsize for piece in slices]
        buffer = self.transport.allgather(cat([mine, self._note(notes)]), self._counts(sizes))
        for kind, span in spans(like).items():
            inside = [len(range(max(s.start, span.start), min(s.stop, span.stop))) * dtype.itemsize for s in slices]
            away = len(trees) * (sum(inside) - inside[self.process])  # each head's part of the others' slices
            self.sent[kind] += away + (self.size - 1) * inside[self.process]  # and this process's own slice, added
        self.sent["headers"] += 8 * (len(self.mine) + 2) * (self.size - 1)
        pieces, losses = self._cut(buffer, sizes, agreed=True)
        return filled(np.concatenate(pieces), like), losses

    def _leaves(self, trees: Sequence[Tree], like: Sequence[Tree]) -> list[Array]:
        """All arrays of this process's heads, in the order of their templates."""
        return [leaf for n, given in zip(self.mine, trees, strict=True) for leaf in leaves_as(like[n], given)]

    def _note(self, notes: Sequence[float]) -> Array:
        """What rides behind the payload: a number a head, this process's wish to stop, and what it takes the run to be."""
        self.met += 1
        return np.array([*notes, self.wish, self._mark()], np.float64)

    def _mark(self) -> int:
        """The run and the merge that this process believes to be in, as one number that a float64 holds."""
        return (self.tag % 2**20) * 2**32 + self.met % 2**32

    def _compare(self, marks: dict[int, float], agreed: bool) -> None:
        """Raises ProcessesDisagree, naming a process that is elsewhere; one that missed the merge has no mark."""
        for process, mark in marks.items():
            if mark != marks[0] and not math.isnan(mark):
                (run, met), (other, first) = divmod(int(mark), 2**32), divmod(int(marks[0]), 2**32)
                what = (
                    f"merge {met} where process 0 is at merge {first}"
                    if run == other
                    else "another run than process 0"
                )
                trouble = ProcessesDisagree(
                    f"process {process}: is at {what}; start all processes alike, then --resume"
                )
                trouble.agreed = agreed
                raise trouble

    def _sizes(self, like: Sequence[Tree]) -> tuple[list[int], list[int]]:
        """Bytes of every process's heads, without and with what rides behind them."""
        sizes = [tree.nbytes(list(like[own.start : own.stop])) for own in self.blocks]
        return sizes, self._counts(sizes)

    def _counts(self, sizes: Sequence[int]) -> list[int]:
        """Bytes of every process's payload and notes."""
        return [size + 8 * (len(own) + 2) for size, own in zip(sizes, self.blocks)]

    def _count(self, trees: Sequence[Tree], others: int, header: int) -> None:
        """These trees and a header went to so many others."""
        for vector in trees:
            for kind, size in kinds(vector).items():
                self.sent[kind] += size * others
        self.sent["headers"] += header * others

    def _cut(self, buffer: Array, sizes: Sequence[int], agreed: bool) -> tuple[list[Array], list[float]]:
        """Every process's payload (a view of the buffer) and every head's note; agrees on `stop`."""
        parts, losses, wishes, marks, at = [], [], [], [], 0
        for size, count in zip(sizes, self._counts(sizes)):
            parts.append(buffer[at : at + size])
            *heard, wish, mark = buffer[at + size : at + count].copy().view(np.float64).tolist()
            losses += heard
            wishes.append(wish)
            marks.append(mark)
            at += count
        self._compare(dict(enumerate(marks)), agreed)
        self.stop = int(np.nanmax(wishes))
        return parts, losses

    def _heads(self, buffer: Array, sizes: Sequence[int], like: Sequence[Tree], agreed: bool) -> tuple[list, list]:
        """Every head's tree and note out of all processes' bytes; `agreed` where all have them."""
        parts, losses = self._cut(buffer, sizes, agreed)
        processes = [filled(part, list(like[own.start : own.stop])) for part, own in zip(parts, self.blocks)]
        return [head for heads in processes for head in heads], losses


def memory(numbers: Tree) -> list[Array]:
    """The memory of each array, as bytes that can be written to."""
    return [leaf.reshape(-1).view(np.uint8) for leaf in tree.leaves(numbers)]


def in_order(stack: Sequence[Array]) -> Array:
    """stack[0] + stack[1] + …, added from the first to the last.    (N,k)->(k,)"""
    total = stack[0].copy()
    for vector in stack[1:]:
        total += vector
    return total
