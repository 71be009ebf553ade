"""Ranks as MPI processes: the only module that imports mpi4py."""

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilte.core.errors import BadInput, RankLost
from minilte.core.types import Array

# what launchers tell a process about the size of its job, and what they are called
LAUNCHERS = {"PMI_SIZE": "mpirun", "OMPI_COMM_WORLD_SIZE": "Open MPI's mpirun", "SLURM_STEP_NUM_TASKS": "srun"}


MARKS = ("PMI", "OMPI_", "PRTE_", "HYDRA_", "HYDI_", "MPI_", "I_MPI_", "MV2_", "PALS_", "SLURM_STEP", "SLURM_PROCID")


def launched() -> bool:
    """Did any launcher of MPI jobs start this process? Their variables begin with one of `MARKS`."""
    return any(name.startswith(MARKS) for name in os.environ)


def promised() -> tuple[int, str]:
    """(ranks that a launcher says it started, its name); (1, "") without a launcher."""
    told = [(int(os.environ[name]), who) for name, who in LAUNCHERS.items() if os.environ.get(name, "").isdigit()]
    return max(told, default=(1, ""))


def connect():
    """The transport of the job this process belongs to, or None where no launcher started it, or no library is needed.

    Raises BadInput when a launcher started several processes that cannot see each other.
    """
    ranks, launcher = promised()
    if not launched():  # a process of its own: MPI would only leave its files in /dev/shm after a kill -9
        return None
    if ranks > (os.cpu_count() or 1):
        os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")  # idle ranks must not eat the cores of busy ones
    refuse_full_memory(ranks)
    try:
        with startup_limit(ranks):
            from mpi4py import MPI
    except (ImportError, RuntimeError) as trouble:  # no mpi4py; or mpi4py without a library
        if ranks > 1:
            raise BadInput(
                f"{launcher} started {ranks} processes, but mpi4py finds no MPI library ({first_line(trouble)}); "
                "install one, e.g. pip install 'minilte[mpi]'"
            ) from trouble
        return None
    if (size := MPI.COMM_WORLD.size) != ranks and ranks > 1:
        raise BadInput(
            f"{launcher} started {ranks} processes, but each sees a job of {size}: the launcher and "
            f"{MPI.Get_library_version().splitlines()[0].strip()} do not belong together; use that library's own "
            "mpirun (under srun: --mpi=pmi2 or pmix)"
        )
    return MPIRank(MPI)


SHARED = Path("/dev/shm")  # where MPI libraries keep what the ranks of one machine share
NEED = 4e6  # bytes of it that a rank takes, at most


def refuse_full_memory(ranks: int, place: Path = SHARED) -> None:
    """Raises BadInput where too little shared memory is left: MPI itself would end with a bus error.

    Every job that is killed leaves about 1 MB a rank there.
    """
    if not place.is_dir() or (free := shutil.disk_usage(place).free) >= ranks * NEED:
        return
    left = len(list(place.iterdir()))
    raise BadInput(
        f"{place}: {free / 1e6:.0f} MB are free, {ranks} ranks need up to {ranks * NEED / 1e6:.0f}; it holds {left} files, "
        "among them what killed MPI jobs left: remove those of jobs that are gone"
    )


def job(ranks: int, module: str) -> list[str]:
    """The command that starts a module on so many ranks, with the mpirun of this Python or the one on PATH.

    Raises BadInput where there is none.
    """
    mpirun = shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")
    if mpirun is None:
        raise BadInput("ranks: no mpirun is on PATH; install an MPI library, e.g. pip install 'minilte[mpi]'")
    return [mpirun, "-n", str(ranks), sys.executable, "-m", module]


def first_line(trouble: Exception) -> str:
    """The first line of an exception's text, without its final stop."""
    return (str(trouble).strip().splitlines() or [type(trouble).__name__])[0].rstrip(".")


YIELDS = 2000  # polls, about 2 ms, before a waiting rank begins to sleep
SIGN = 250  # polls between two signs of life, about 40 ms
STAGGER = 0.3  # seconds that each rank waits longer than the one before, so that one of them speaks


class Eyes(NamedTuple):
    """What a waiting rank does about the others: how long it waits, its sign of life, whom it misses."""

    limit: float = 600.0  # seconds
    beat: Callable[[], None] = lambda: None
    silent: Callable[[float], str] = lambda waited: f"some rank: silent for more than {waited:.0f} s"


class MPIRank:
    """The transport of one MPI rank. Collectives are polled, so that Python can still answer a signal."""

    def __init__(self, MPI):
        self.MPI, self.world = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.world.rank, self.world.size
        self.eyes = Eyes()
        self.parting = 600.0  # seconds that rank 0 waits for the others at the end
        self.going, self.coming = [], {}  # messages between two ranks that are on their way

    def allgather(self, mine: Array, counts: Sequence[int]) -> Array:
        """Every rank's bytes, one after the other."""
        everything = np.empty(sum(counts), np.uint8)
        self.wait(self.world.Iallgatherv([mine, self.MPI.BYTE], [everything, list(counts), self.MPI.BYTE]).Test)
        return everything

    def gather(self, mine: Array, counts: Sequence[int]) -> Array | None:
        """Every rank's bytes, one after the other, on rank 0."""
        everything = np.empty(sum(counts), np.uint8) if self.rank == 0 else None
        receive = [everything, list(counts), self.MPI.BYTE] if self.rank == 0 else None
        self.wait(self.world.Igatherv([mine, self.MPI.BYTE], receive).Test)
        return everything

    def broadcast(self, *buffers: Array, newest: bool = False) -> None:
        """Rank 0's bytes into the buffers of every other rank."""
        for buffer in buffers:
            self.wait(self.world.Ibcast([buffer, self.MPI.BYTE]).Test)

    def alltoall(self, parts: Sequence[Array], counts: Sequence[int]) -> list[Array]:
        """What each rank has for this one."""
        out, arrived = np.concatenate(list(parts)), np.empty(sum(counts), np.uint8)
        send = [out, [part.nbytes for part in parts], self.MPI.BYTE]
        self.wait(self.world.Ialltoallv(send, [arrived, list(counts), self.MPI.BYTE]).Test)
        return np.split(arrived, np.cumsum(counts)[:-1])

    def objects(self, mine) -> list:
        """Every rank's object, by rank."""
        data, counts = self._as_message(mine)
        return self._as_objects(self.allgather(data, counts), counts)

    def to_root(self, mine) -> list | None:
        """Every rank's object on rank 0."""
        data, counts = self._as_message(mine)
        everything = self.gather(data, counts)
        return None if everything is None else self._as_objects(everything, counts)

    def leave(self, code: int) -> None:
        """The end of this rank, once all have come to theirs; without those that do not, the job ends here.

        Rank 0 has the most to do, so the others leave it the time.
        """
        self.eyes = Eyes(self.parting) if self.rank == 0 else Eyes()
        try:
            self.wait(self._settled)  # then all that this rank has posted was read
            self.wait(lambda request=self.world.Ibarrier(): self._settled() and request.Test())
        except RankLost:
            self.abort(code)

    def _settled(self) -> bool:
        """Read what nobody waits for any more; has all that was posted here been read too?"""
        for source in range(self.size):
            while self.heard(source) is not None:
                pass
        self.going = [request for request in self.going if not request.Test()]
        return not self.going and not self.coming

    def abort(self, code: int) -> None:
        """End every rank of the job now."""
        time.sleep(0.05)  # or the line just written may be lost on its way through the launcher
        self.world.Abort(code)

    def _as_message(self, mine) -> tuple[Array, list[int]]:
        """An object as bytes, and how many each rank has. Only between ranks of this job, never from a file."""
        data = np.frombuffer(self.MPI.pickle.dumps(mine), np.uint8)
        sizes = self.allgather(np.array([data.size]).view(np.uint8), [8] * self.size)
        return data, sizes.view(np.int64).tolist()

    def _as_objects(self, everything: Array, counts: Sequence[int]) -> list:
        """Every rank's object."""
        return [self.MPI.pickle.loads(part) for part in np.split(everything, np.cumsum(counts)[:-1])]

    def post(self, thing, to: int) -> None:
        """Send an object without waiting for its receiver. Only between ranks of this job, never from a file."""
        self.going = [request for request in self.going if not request.Test()]
        self.going.append(self.world.issend(thing, to))  # done only when it is being read

    def heard(self, source: int):
        """The next object that a rank has posted here; None where none has arrived whole."""
        if source not in self.coming:
            if (message := self.world.improbe(source)) is None:
                return None
            self.coming[source] = message.irecv()
        arrived, thing = self.coming[source].test()
        if arrived:
            del self.coming[source]
        return thing

    def wait(self, reached: Callable[[], bool]) -> None:
        """Until something is reached, giving the core to whoever needs it; after a while with short sleeps.

        A large collective goes on only while it is polled, in many small steps: a sleep of 1 ms between polls made
        2 ranks twenty times slower, and 8 ranks on 2 cores twice. Raises RankLost when it takes too long.
        """
        polls, begun = 0, time.monotonic()
        self.eyes.beat()
        while not reached():
            os.sched_yield() if polls < YIELDS else time.sleep(1e-4)  # not sleep(0): that takes 50 us
            polls += 1
            if polls % SIGN == 0:
                self.eyes.beat()
                if (waited := time.monotonic() - begun) > self.eyes.limit + STAGGER * self.rank:
                    raise RankLost(f"{self.eyes.silent(waited)}; the run stops here, go on with --resume")


STARTUP = 60.0  # seconds that all processes of a job may take to find each other


@contextlib.contextmanager
def startup_limit(ranks: int, seconds: float = STARTUP) -> Iterator[None]:
    """Ends this process where the others of its job don't come: by a child, for MPI lets no Python run meanwhile."""
    if ranks == 1:
        yield
        return
    ended, alive = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        os.close(alive)
        if not select.select([ended], [], [], seconds)[0]:
            text = f"minilte: error: MPI: not all {ranks} processes of the job came within {seconds:.0f} s; see which host lacks one\n"
            os.write(2, text.encode())
            os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)
    try:
        yield
    finally:
        os.close(alive)
        os.close(ended)
        os.waitpid(watcher, 0)
