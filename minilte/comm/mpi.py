"""Processes as MPI processes: the only module that imports mpi4py."""

import os
import time
from collections.abc import Callable, Iterable, Sequence, Set

import numpy as np

from minilte.comm.buffers import cut
from minilte.comm.communicator import Eyes
from minilte.comm.launch import launched, promised, refuse_full_memory, startup_limit
from minilte.core.errors import BadInput, ProcessLost
from minilte.core.types import Array


def connect():
    """The transport of the job this process belongs to, or None where no launcher started it, or no library is needed.

    Raises BadInput when a launcher started several processes that cannot see each other.
    """
    processes, launcher = promised()
    if not launched():  # a process of its own: MPI would only leave its files in /dev/shm after a kill -9
        return None
    if processes > (os.cpu_count() or 1):
        # idle processes must not take the cores of busy ones
        os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")
    refuse_full_memory(processes)
    try:
        with startup_limit(processes):
            from mpi4py import MPI
    except (ImportError, RuntimeError) as trouble:  # no mpi4py; or mpi4py without a library
        reason = (str(trouble).strip().splitlines() or [type(trouble).__name__])[0].rstrip(".")
        if processes > 1:
            raise BadInput(
                f"{launcher} started {processes} processes, but mpi4py finds no MPI library ({reason}); "
                "install one, e.g. pip install 'minilte[mpi]'"
            ) from trouble
        return None
    if (size := MPI.COMM_WORLD.size) != processes and processes > 1:
        raise BadInput(
            f"{launcher} started {processes} processes, but each sees a job of {size}: the launcher and "
            f"{MPI.Get_library_version().splitlines()[0].strip()} do not belong together; use that library's own "
            "mpirun (under srun: --mpi=pmi2 or pmix)"
        )
    return MPIProcess(MPI)


YIELDS = 2000  # polls, about 2 ms, before a waiting process begins to sleep
SIGN = 250  # polls between two signs of life, about 40 ms
STAGGER = 0.3  # seconds that each process waits longer than the process before it, so that only the first prints
ABORTED = 10.0  # seconds that a launcher may take to end a job
POLLS = 50
SETTLED = 0.1  # seconds in which processes that fail together learn of each other
POST, LAST_WORD = 0, 1  # tags of messages


class MPIProcess:
    """The transport of one MPI process. Collectives are polled, so that Python can still answer a signal."""

    late: Set[int] = frozenset()

    def __init__(self, MPI):
        self.MPI, self.world = MPI, MPI.COMM_WORLD
        self.process, self.size = self.world.rank, self.world.size
        self.eyes = Eyes()
        self.parting = 600.0  # seconds that process 0 waits for the others at the end
        self.going, self.coming = [], {}  # messages between two processes that are on their way

    def gather(self, mine: Array, counts: Sequence[int], everywhere: bool = False) -> Array | None:
        here = everywhere or self.process == 0
        everything = np.empty(sum(counts), np.uint8) if here else None
        receive = [everything, list(counts), self.MPI.BYTE] if here else None
        collective = self.world.Iallgatherv if everywhere else self.world.Igatherv
        self.wait(collective([mine, self.MPI.BYTE], receive).Test)
        return everything

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        for buffer in buffers:
            self.wait(self.world.Ibcast([buffer, self.MPI.BYTE]).Test)

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        out, arrived = np.concatenate(list(parts)), np.empty(sum(counts), np.uint8)
        send = [out, [part.nbytes for part in parts], self.MPI.BYTE]
        self.wait(self.world.Ialltoallv(send, [arrived, list(counts), self.MPI.BYTE]).Test)
        return cut(arrived, counts)

    def objects(self, mine, everywhere: bool = True) -> list | None:
        """Pickled: only between processes of this job, never from a file."""
        data = np.frombuffer(self.MPI.pickle.dumps(mine), np.uint8)
        sizes = self.gather(np.array([data.size]).view(np.uint8), [8] * self.size, everywhere=True)
        counts = sizes.view(np.int64).tolist()
        everything = self.gather(data, counts, everywhere)
        return None if everything is None else [self.MPI.pickle.loads(part) for part in cut(everything, counts)]

    def leave(self, code: int) -> None:
        """The end of this process, once all have come to theirs; without those that do not, the job ends here.

        Process 0 has the most to do, so the others leave it the time.
        """
        self.eyes = Eyes(self.parting) if self.process == 0 else Eyes()
        try:
            self.wait(self._settled)  # then all that this process has posted was read
            self.wait(lambda request=self.world.Ibarrier(): self._settled() and request.Test())
        except ProcessLost:
            self.abort(code)

    def _settled(self) -> bool:
        """Read messages that no process waits for any more; have all that were posted here been read too?"""
        for source in range(self.size):
            while self.heard(source) is not None:
                pass
        self.going = [request for request in self.going if not request.Test()]
        return not self.going and not self.coming

    def may_speak(self) -> bool:
        """Is it this process that prints why the job ends? Of several that fail together, the first by number does.

        Where it is another process, that process ends this one while it waits here.
        """
        others = [process for process in range(self.size) if process != self.process]
        if not (spoken := self._heard_last(others)):
            self.going += [self.world.Isend([b"", self.MPI.BYTE], process, LAST_WORD) for process in others]
            time.sleep(SETTLED)
            spoken = self._heard_last(range(self.process))
        if spoken:
            time.sleep(ABORTED)
        return not spoken

    def _heard_last(self, processes: Iterable[int]) -> bool:
        """Has any of these processes sent word that it ends the job? A message may take a few polls to come up."""
        return any(self.world.iprobe(process, LAST_WORD) for _ in range(POLLS) for process in processes)

    def abort(self, code: int) -> None:
        """End every process of the job now; this call does not return.

        MPICH's own does, before the launcher ends the others: a collective that this process entered then, as the barrier
        of `leave`, would answer the one in which they wait, with nothing in it.
        """
        time.sleep(0.05)  # or the line just written may be lost on its way through the launcher
        self.world.Abort(code)
        time.sleep(ABORTED)
        os._exit(code)

    def post(self, thing, to: int) -> None:
        self.going = [request for request in self.going if not request.Test()]
        self.going.append(self.world.issend(thing, to, POST))  # done only when it is being read

    def heard(self, source: int):
        if source not in self.coming:
            if (message := self.world.improbe(source, POST)) is None:
                return None
            self.coming[source] = message.irecv()
        arrived, thing = self.coming[source].test()
        if arrived:
            del self.coming[source]
        return thing

    def wait(self, reached: Callable[[], bool]) -> None:
        """Polls and yields the core; after a while with short sleeps.

        A large collective goes on only while it is polled, in many small steps: a sleep of 1 ms between polls made
        2 processes twenty times slower, and 8 processes on 2 cores twice. Raises ProcessLost when it takes too long.
        """
        polls, begun = 0, time.monotonic()
        self.eyes.beat()
        while not reached():
            os.sched_yield() if polls < YIELDS else time.sleep(1e-4)  # not sleep(0): that takes 50 us
            polls += 1
            if polls % SIGN == 0:
                self.eyes.beat()
                if (waited := time.monotonic() - begun) > self.eyes.limit + STAGGER * self.process:
                    raise ProcessLost(f"{self.eyes.silent(waited)}; the run stops here, go on with --resume")
