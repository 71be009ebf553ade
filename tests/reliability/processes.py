"""The same run on many numbers of processes, and under a second MPI library: one result."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import tiny

from reliability import jobs
from reliability.rows import Row

PROCESSES = (1, 2, 3, 4, 5, 8, 12)
FEW = (1, 3, 12)  # all heads, blocks of unequal size, processes without a head
IMAGES = dict(data="fashion-mini", model="mlp", widths=(32,), heads=8, batch=64, rank=4, reset="ab")
SECOND = (2, 5)  # processes under the second library


def measure(full: bool, seed: int) -> list[Row]:
    """The row of this MPI library, on a few sizes or many, and that of another one in the full form."""
    sizes = PROCESSES if full else FEW
    first = row("distinct results over processes " + ",".join(map(str, sizes)), [({}, n) for n in sizes], seed)
    return [first, second(seed)] if full else [first]


def second(seed: int) -> Row:
    """The row of Open MPI, where there is one, against one process."""
    what = "distinct results under Open MPI, processes " + ",".join(map(str, SECOND))
    if (mpirun := open_mpi()) is None:
        return Row(what, "not installed", "1", None)
    beside = Path(mpirun).parent / "python"
    python = str(beside) if beside.exists() else sys.executable
    other = dict(mpirun=[mpirun, "--allow-run-as-root", "--oversubscribe"], python=[python])
    return row(what, [({}, 1), *((other, n) for n in SECOND)], seed)


def row(what: str, launches: list[tuple[dict, int]], seed: int) -> Row:
    """How many results these launches of one run have."""
    results, troubles = set(), []
    with jobs.place() as place:
        for at, (how, size) in enumerate(launches):
            folder = place / str(at)
            folder.mkdir()
            argv = ["--out=run", *tiny.flags(**IMAGES, seed=seed)]
            code = jobs.ended(jobs.start(folder, size, *argv, **how))
            results.add(jobs.outcome(folder / "run"))
            if code != 0:
                troubles.append(f"{size} processes, seed {seed}: exit {code}, {jobs.last_words(folder)}")
    return Row(what, str(len(results)), "1", len(results) == 1 and not troubles, notes=tuple(troubles))


def open_mpi() -> str | None:
    """The mpirun of Open MPI, if one is on PATH."""
    for folder in os.environ["PATH"].split(os.pathsep):
        for name in ("mpirun", "mpirun.openmpi"):
            found = shutil.which(name, path=folder)
            if found and "Open MPI" in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:
                return found
    return None
