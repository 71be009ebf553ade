"""How a job of MPI processes is started: what launchers say of it, what it needs of the machine, how long it may take."""

import contextlib
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from minilte.core.errors import BadInput

# what launchers tell a process about the size of its job, and what they are called
LAUNCHERS = {"PMI_SIZE": "mpirun", "OMPI_COMM_WORLD_SIZE": "Open MPI's mpirun", "SLURM_STEP_NUM_TASKS": "srun"}


MARKS = ("PMI", "OMPI_", "PRTE_", "HYDRA_", "HYDI_", "MPI_", "I_MPI_", "MV2_", "PALS_", "SLURM_STEP", "SLURM_PROCID")


def launched() -> bool:
    """Did any launcher of MPI jobs start this process? Their variables begin with one of `MARKS`."""
    return any(name.startswith(MARKS) for name in os.environ)


def promised() -> tuple[int, str]:
    """(processes that a launcher says it started, its name); (1, "") without a launcher."""
    told = [(int(os.environ[name]), who) for name, who in LAUNCHERS.items() if os.environ.get(name, "").isdigit()]
    return max(told, default=(1, ""))


SHARED = Path("/dev/shm")  # where MPI libraries keep what the processes of one machine share
NEED = 4e6  # bytes of it that a process takes, at most


def refuse_full_memory(processes: int, place: Path = SHARED) -> None:
    """Raises BadInput where too little shared memory is left: MPI itself would end with a bus error.

    Every job that is killed leaves about 1 MB a process there.
    """
    if not place.is_dir() or (free := shutil.disk_usage(place).free) >= processes * NEED:
        return
    left = len(list(place.iterdir()))
    raise BadInput(
        f"{place}: {free / 1e6:.0f} MB are free, {processes} processes need up to {processes * NEED / 1e6:.0f}; it holds {left} files, "
        "among them what killed MPI jobs left: remove those of jobs that are gone"
    )


def job(processes: int, module: str) -> list[str]:
    """The command that starts a module on so many processes, with the mpirun of this Python or the one on PATH.

    Raises BadInput where there is none.
    """
    mpirun = shutil.which("mpirun", path=str(Path(sys.executable).parent)) or shutil.which("mpirun")
    if mpirun is None:
        raise BadInput("processes: no mpirun is on PATH; install an MPI library, e.g. pip install 'minilte[mpi]'")
    return [mpirun, "-n", str(processes), sys.executable, "-m", module]


STARTUP = 60.0  # seconds that all processes of a job may take to find each other


@contextlib.contextmanager
def startup_limit(processes: int, seconds: float = STARTUP) -> Iterator[None]:
    """Ends this process where the others of its job don't come: by a child, for MPI lets no Python run meanwhile."""
    if processes == 1:
        yield
        return
    ended, alive = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        os.close(alive)
        if not select.select([ended], [], [], seconds)[0]:
            text = f"minilte: error: MPI: not all {processes} processes of the job came within {seconds:.0f} s; see which host lacks one\n"
            os.write(2, text.encode())
            os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)
    try:
        yield
    finally:
        os.close(alive)
        os.close(ended)
        os.waitpid(watcher, 0)
