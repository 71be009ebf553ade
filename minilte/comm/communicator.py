"""The communicator of the core: heads on any number of processes, gathered and summed in head order.

Below it is a transport, for a single process, for MPI or for processes played by threads: it knows its `process` of `size`,
and only moves bytes. The order of every sum is that of the heads, so the bits are the same on any number of processes.
Process 0 always has a head, and is the master where there is one.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from minilte.comm.blocks import block
from minilte.comm.buffers import as_bytes, cat, cut, filled, kinds, leaves_as
from minilte.core import tree
from minilte.core.errors import ProcessesDisagree
from minilte.core.types import Array, Tree


class Eyes(NamedTuple):
    """What a waiting process does about the others: how long it waits, its sign of life, and who is silent."""

    limit: float = 600.0  # seconds
    beat: Callable[[], None] = lambda: None
    silent: Callable[[float], str] = lambda waited: f"some process: silent for more than {waited:.0f} s"


class Transport(Protocol):
    """What a transport must offer. Buffers are uint8 vectors; all processes call, in the same order."""

    process: int
    size: int
    eyes: Eyes | None  # None: no process can go silent
    late: Set[int]  # the processes that missed the last merge; empty where all are waited for

    def gather(self, mine: Array, counts: Sequence[int], everywhere: bool = False) -> Array | None:
        """Every process's bytes, `counts[p]` of process p, one after the other; on process 0 alone or everywhere."""

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        """parts[p] goes to process p; returns what each process sent here, `counts[p]` bytes from process p."""

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        """Process 0's bytes into the buffers of every other process; `newest`: they replace what was sent so before."""

    def objects(self, mine, everywhere: bool = True) -> list | None:
        """Every process's Python object, by process; everywhere or on process 0 alone."""


class Communicator:
    """Implements `core.method.Comm` on a transport.

    `threads` > 1 runs the heads of this process on that many Python threads; each head's arithmetic is its own, so the
    bits do not change. `sent` counts, by kind, the bytes that this process sent to others; `stop` is the largest signal
    number that any process had got at the last merge.
    """

    def __init__(self, transport: Transport, heads: int, threads: int = 1):
        self.transport, self.heads = transport, heads
        self.process, self.size = transport.process, transport.size
        self.blocks = [block(heads, self.size, process) for process in range(self.size)]
        self.mine = self.blocks[self.process]
        self.pool = ThreadPoolExecutor(threads) if threads > 1 and len(self.mine) > 1 else None
        self.sent: Counter[str] = Counter()
        self.wish = self.stop = 0
        self.tag, self.met = 0, 0  # a number of the run, and of its merges: the same on all processes

    def each(self, f: Callable[[Tree], Tree], heads: Sequence[Tree]) -> list[Tree]:
        """f of every item, in order: of the heads that live here, or of parts of a merge."""
        return list((self.pool.map if self.pool else map)(f, heads))

    def gather(
        self, trees: Sequence[Tree], like: Sequence[Tree], notes: Sequence[float], everywhere: bool = True
    ) -> tuple[list, list] | None:
        """Every head's tree and note, in head order; `like` gives the shapes of all N. One collective.

        On all processes, or on process 0 alone and None elsewhere.
        """
        templates = [list(like[own.start : own.stop]) for own in self.blocks]
        sizes = [tree.nbytes(own) for own in templates]
        leaves = [leaf for own in zip(templates[self.process], trees, strict=True) for leaf in leaves_as(*own)]
        buffer = self.transport.gather(cat([*leaves, self._note(notes)]), self._counts(sizes), everywhere)
        self._count(trees, self.size - 1 if everywhere else int(self.process != 0), 8 * (len(self.mine) + 2))
        if buffer is None:
            return None
        parts, losses = self._cut(buffer, sizes, agreed=everywhere)
        heads = [head for part, own in zip(parts, templates) for head in filled(part, own)]
        heads[self.mine.start : self.mine.stop] = trees  # what is here need not be read back
        return heads, losses

    def collect(self, *said) -> tuple[list, list] | None:
        """`gather` to process 0 alone."""
        return self.gather(*said, everywhere=False)

    def spread(self, given: dict[str, Tree], notes: Sequence[float], lasting: Sequence[str] = ()) -> list[float]:
        """Process 0's numbers into every other process's `given`, array by array, and its notes to all: as many as given.

        A late process gets only the newest, but all of the kinds that are `lasting`.
        """
        header = np.array([*notes, self.stop, self._mark()], np.float64)
        self.transport.broadcast(header.view(np.uint8))
        self._compare({0: header[-1], self.process: self._mark()}, agreed=False)
        if self.process == 0:
            self._count([given], self.size - 1, header.nbytes)
        if lasting:
            self.transport.broadcast(*map(as_bytes, tree.leaves([given[kind] for kind in lasting])))
            given = {kind: numbers for kind, numbers in given.items() if kind not in lasting}
        self.transport.broadcast(*map(as_bytes, tree.leaves(given)), newest=True)
        *losses, stop, _ = header.tolist()
        self.stop = int(stop)
        return losses

    def by_slices(self, parts: Sequence[Array], sizes: Sequence[int], add: Callable, notes: Sequence[float]):
        """parts[p] are the bytes of the heads here, one after the other, in slice p, sizes[p] of each; `add` makes the slice that
        all get of those of all heads. Returns all slices, and the notes."""
        here = sizes[self.process]
        arrived = self.transport.alltoall(parts, [len(own) * here for own in self.blocks])
        mine = add([row for part, own in zip(arrived, self.blocks) for row in part.reshape(len(own), here)])
        buffer = self.transport.gather(cat([mine, self._note(notes)]), self._counts(sizes), everywhere=True)
        self.sent["headers"] += 8 * (len(self.mine) + 2) * (self.size - 1)
        return self._cut(buffer, sizes, agreed=True)

    def count_slices(self, kind: str, sizes: Sequence[int], heads: int) -> None:
        """Count what a sum by slices of these sizes sends: each head's bytes in the others' slices, and the own slice, added."""
        own = sizes[self.process]
        self.sent[kind] += heads * (sum(sizes) - own) + (self.size - 1) * own

    def _note(self, notes: Sequence[float]) -> Array:
        """What is sent behind the payload: a number a head, this process's wish to stop, and its mark."""
        self.met += 1
        return np.array([*notes, self.wish, self._mark()], np.float64)

    def _mark(self) -> int:
        """The run and the merge in which this process is, as one number that a float64 holds."""
        return (self.tag % 2**20) * 2**32 + self.met % 2**32

    def _compare(self, marks: dict[int, float], agreed: bool) -> None:
        """Raises ProcessesDisagree where marks differ, naming the process; a process that missed the merge has none."""
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

    def _counts(self, sizes: Sequence[int]) -> list[int]:
        """Bytes of every process's payload and notes."""
        return [size + 8 * (len(own) + 2) for size, own in zip(sizes, self.blocks)]

    def _count(self, trees: Sequence[Tree], others: int, header: int) -> None:
        """Count these trees and a header as sent to so many others."""
        for vector in trees:
            for kind, size in kinds(vector).items():
                self.sent[kind] += size * others
        self.sent["headers"] += header * others

    def _cut(self, buffer: Array, sizes: Sequence[int], agreed: bool) -> tuple[list[Array], list[float]]:
        """Every process's payload (a view of the buffer) and every head's note; agrees on `stop`."""
        pieces = list(zip(cut(buffer, self._counts(sizes)), sizes))
        notes = [piece[size:].copy().view(np.float64).tolist() for piece, size in pieces]
        self._compare({process: mark for process, (*_, mark) in enumerate(notes)}, agreed)
        self.stop = int(np.nanmax([wish for *_, wish, _ in notes]))
        return [piece[:size] for piece, size in pieces], [loss for *losses, _, _ in notes for loss in losses]
