"""Ranks played by threads of one process: for tests that need many rank counts quickly, and for notebooks."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import numpy as np

from minilte.core.types import Array


class ThreadRank:
    """One of `size` ranks that meet at a barrier and read each other's buffers from a common table.

    `letters[sender, receiver]` is what was posted and not yet read.
    """

    def __init__(self, rank: int, size: int, table: list, barrier: threading.Barrier, letters: dict):
        self.rank, self.size, self.table, self.barrier, self.letters = rank, size, table, barrier, letters

    def objects(self, mine) -> list:
        """Every rank's object, by rank."""
        self.table[self.rank] = mine
        self.barrier.wait()
        everyone = list(self.table)
        self.barrier.wait()  # nobody writes the next object before all have read this one
        return everyone

    def to_root(self, mine) -> list | None:
        """Every rank's object on rank 0."""
        everyone = self.objects(mine)
        return everyone if self.rank == 0 else None

    def allgather(self, mine: Array, counts: Sequence[int]) -> Array:
        """Every rank's bytes, one after the other."""
        return np.concatenate(self.objects(mine))

    def gather(self, mine: Array, counts: Sequence[int]) -> Array | None:
        """Every rank's bytes, one after the other, on rank 0."""
        everyone = self.allgather(mine, counts)
        return everyone if self.rank == 0 else None

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        """Rank 0's bytes into the buffers of every other rank."""
        told = self.objects([buffer.copy() for buffer in buffers] if self.rank == 0 else None)[0]
        for buffer, new in zip(buffers, told, strict=True):
            buffer[:] = new

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        """What each rank has for this one."""
        return [theirs[self.rank].copy() for theirs in self.objects(parts)]

    def post(self, thing, to: int) -> None:
        """Leave an object for a rank."""
        self.letters[self.rank, to].append(thing)

    def heard(self, source: int):
        """The next object that a rank left here; None where there is none."""
        left = self.letters[source, self.rank]
        return left.popleft() if left else None

    def wait(self, reached: Callable[[], bool]) -> None:
        """Until something is reached. Raises BrokenBarrierError when another rank is gone."""
        while not reached():
            if self.barrier.broken:
                raise threading.BrokenBarrierError
            time.sleep(1e-5)


def run(size: int, work: Callable[[ThreadRank], object]) -> list:
    """work(transport) on `size` ranks at once; their results by rank. The first exception of any rank is raised."""
    table, barrier, letters = [None] * size, threading.Barrier(size), defaultdict(deque)
    results: list = [None] * size
    failures: list[BaseException] = []

    def one(rank):
        try:
            results[rank] = work(ThreadRank(rank, size, table, barrier, letters))
        except BaseException as failure:
            failures.append(failure)
            barrier.abort()  # the others must not wait for a rank that is gone

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise next((f for f in failures if not isinstance(f, threading.BrokenBarrierError)), failures[0])
    return results
