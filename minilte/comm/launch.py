"""How a job of MPI processes is started: its size, the shared memory that it needs, how long its start may take."""

import contextlib
import ctypes
import errno
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from minilte.core.errors import BadInput, ProcessLost

# variables that hold the number of processes of a job, and the launchers that set them
LAUNCHERS = {"PMI_SIZE": "mpirun", "OMPI_COMM_WORLD_SIZE": "Open MPI's mpirun", "SLURM_STEP_NUM_TASKS": "srun"}
MARKS = ("PMI", "OMPI_", "PRTE_", "HYDRA_", "HYDI_", "MPI_", "I_MPI_", "MV2_", "PALS_", "SLURM_STEP", "SLURM_PROCID")


def launched() -> bool:
    """Did any launcher of MPI jobs start this process? Their variables begin with any of `MARKS`."""
    return any(name.startswith(MARKS) for name in os.environ)


def promised() -> tuple[int, str]:
    """(processes that a launcher started, its name) by its variables; (1, "") without a launcher."""
    found = [(int(os.environ[name]), who) for name, who in LAUNCHERS.items() if os.environ.get(name, "").isdigit()]
    return max(found, default=(1, ""))


NUMBERS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")  # variables with the number of a process


def first_of_job() -> bool:
    """Is this the first process, as far as a launcher says? For what must not touch MPI."""
    return next((os.environ[name] for name in NUMBERS if name in os.environ), "0") == "0"


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
LOOKS = 0.2  # seconds between two looks of the child that holds the limit
ENDING = 1.0  # seconds that a process may take to end by itself after a signal
STOPS = {signal.SIGINT, signal.SIGTERM}
INTERRUPTED = "minilte: error: interrupted before the first step\n"


@contextlib.contextmanager
def startup_limit(processes: int, seconds: float = STARTUP) -> Iterator[None]:
    """Ends this process where the others of its job don't come, or a signal does: MPI lets no Python run meanwhile.

    A child holds the limit. It survives the signals of the job, and sees those that its parent does not answer.
    """
    if processes == 1:
        yield
        return
    ended, alive = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # for the child, from its beginning
    launcher, parent, child = os.getppid(), os.getpid(), os.fork()
    if child == 0:
        os.close(alive)
        hold_limit(parent, launcher, ended, processes, seconds)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        with at_once():
            yield
    finally:
        os.close(alive)
        os.close(ended)
        os.waitpid(child, 0)


def hold_limit(parent: int, launcher: int, ended: int, processes: int, seconds: float) -> None:
    """The child of `startup_limit`: kills its parent at the limit, or soon after a signal; does not return."""
    deadline, code = time.monotonic() + seconds, ProcessLost.code
    text = (
        f"minilte: error: MPI: not all {processes} processes of the job came within {seconds:.0f} s;"
        " see which host lacks a process\n"
    )
    while not select.select([ended], [], [], LOOKS)[0]:
        now = time.monotonic()
        if now > deadline:
            with first_here(launcher) as first:
                if first:
                    give_up(text, code)
                time.sleep(ENDING if code == ProcessLost.code else 0)  # until the job is ended in the name of all
                if os.getppid() == parent:
                    os.kill(parent, signal.SIGKILL)
            break
        if code == ProcessLost.code and (asked := signal.sigpending() & STOPS):
            deadline, code = min(deadline, now + ENDING), 128 + min(asked)
            text = INTERRUPTED if first_of_job() else ""
    os._exit(0)


def give_up(text: str, code: int) -> None:
    """Write the line, and ask the launcher to end the whole job, processes that never came included, with a code."""
    with contextlib.suppress(OSError):  # stderr may be closed, or full
        os.write(2, text.encode())
    time.sleep(LOOKS)  # or the line may be lost on its way through the launcher
    # MPICH's launcher reads lines of PMI there, on which MPI_Init waits too
    with contextlib.suppress(OSError, KeyError, ValueError):
        os.write(int(os.environ["PMI_FD"]), f"cmd=abort exitcode={code}\n".encode())


@contextlib.contextmanager
def first_here(launcher: int) -> Iterator[bool]:
    """Is this the first process of a launcher on this machine that comes here? It holds a name, until it leaves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        try:
            name.bind(f"\0minilte-{launcher}")  # in no folder, and gone with the process
        except OSError as trouble:
            yield trouble.errno != errno.EADDRINUSE  # a system without such names lets each speak
        else:
            yield True


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Inside the `with` the handlers of SIGINT and SIGTERM run at once, though C code holds the interpreter.

    Python's own only note a signal until C code returns; MPI_Init returns when all processes are there. For handlers
    that end the process: one that raises is not heard of.
    """
    before = {number: signal.getsignal(number) for number in STOPS}
    own = {signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None}
    found = {number: call for number, call in before.items() if call not in own}
    if not found or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: found[number](number, None))
    for number in found:
        ctypes.CDLL(None).signal(number, handler)
    try:
        yield
    finally:
        for number, call in found.items():
            signal.signal(number, call)
