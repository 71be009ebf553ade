"""Processes played by threads of one process: for tests that need many process counts quickly, and for notebooks."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minilte.core.types import Array


class ThreadProcess:
    """One of `size` processes that meet at a barrier and read each other's buffers from a common table.

    `letters[sender, receiver]` is what was posted and not yet read.
    """

    eyes, late = None, frozenset()

    def __init__(self, process: int, size: int, table: list, barrier: threading.Barrier, letters: dict):
        self.process, self.size, self.table, self.barrier, self.letters = process, size, table, barrier, letters

    def objects(self, mine, everywhere: bool = True) -> list | None:
        self.table[self.process] = mine
        self.barrier.wait()
        everyone = list(self.table)
        self.barrier.wait()  # no process writes the next object before all have read this object
        return everyone if everywhere or self.process == 0 else None

    def gather(self, mine: Array, counts: Sequence[int], everywhere: bool = False) -> Array | None:
        everyone = self.objects(mine, everywhere)
        return None if everyone is None else np.concatenate(everyone)

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        sent = self.objects([buffer.copy() for buffer in buffers] if self.process == 0 else None)[0]
        for buffer, new in zip(buffers, sent, strict=True):
            buffer[:] = new

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        return [theirs[self.process].copy() for theirs in self.objects(parts)]

    def post(self, thing, to: int) -> None:
        self.letters[self.process, to].append(thing)

    def heard(self, source: int):
        left = self.letters[source, self.process]
        return left.popleft() if left else None

    def wait(self, reached: Callable[[], bool]) -> None:
        """Until something is reached. Raises BrokenBarrierError when another process is gone."""
        while not reached():
            if self.barrier.broken:
                raise threading.BrokenBarrierError
            time.sleep(1e-5)


def run(size: int, work: Callable[[ThreadProcess], object]) -> list:
    """work(transport) on `size` processes at once; their results by process. The first exception of any process is raised."""
    table, barrier, letters = [None] * size, threading.Barrier(size), defaultdict(deque)
    failures: list[BaseException] = []

    def play(process):
        try:
            return work(ThreadProcess(process, size, table, barrier, letters))
        except BaseException as failure:
            failures.append(failure)
            barrier.abort()  # the others must not wait for a process that is gone

    with ThreadPoolExecutor(size) as pool:
        results = list(pool.map(play, range(size)))
    if failures:
        raise next((f for f in failures if not isinstance(f, threading.BrokenBarrierError)), failures[0])
    return results
