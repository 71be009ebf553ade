"""Steps on MPI ranks, timed from outside: `mpirun -n P python -m minilte.bench.ranks` prints the seconds of a round."""

import statistics
import subprocess
import sys
import time

from minilte.bench.step import Size, rounds
from minilte.bench.timing import Spread, spread
from minilte.comm.mpi import job

ROUNDS = 6


def seconds_on(ranks: int) -> float:
    """The median seconds of a round on so many ranks, one BLAS thread each."""
    command = job(ranks, "minilte.bench.ranks")
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def speed_up(ranks: int, runs: int) -> Spread:
    """The seconds on one rank over those on `ranks`, pair by pair."""
    return spread([seconds_on(1) / seconds_on(ranks) for _ in range(runs)])


def main() -> None:
    """One rank of the job."""
    from minilte.comm.mpi import connect
    from minilte.comm.solo import Solo
    from minilte.runs.machine import one_blas_thread

    transport = connect() or Solo()
    one_round = rounds(Size(), threads=1, transport=transport)
    with one_blas_thread():
        one_round()
        times = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            one_round()
            times.append(time.perf_counter() - begun)
    if transport.rank == 0:
        sys.stdout.write(f"{statistics.median(times)}\n")


if __name__ == "__main__":
    main()
