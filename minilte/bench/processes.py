"""Rounds on MPI processes: `mpirun -n P python -m minilte.bench.processes SIZE` prints the seconds of a round and the
bytes it sent. SIZE is a `Size` as JSON."""

import json
import statistics
import subprocess
import sys
import time

from minilte.bench.step import Size, rounds
from minilte.bench.timing import Spread, spread
from minilte.comm.launch import job

ROUNDS = 6


def measured_on(processes: int, size: Size = Size()) -> tuple[float, int]:
    """(median seconds, bytes sent by all) of a round on this many processes, one BLAS thread each."""
    command = [*job(processes, "minilte.bench.processes"), json.dumps(size)]
    seconds, sent = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(seconds), int(sent)


def speed_up(processes: int, runs: int) -> Spread:
    """The seconds on one process over those on `processes`, pair by pair."""
    return spread([measured_on(1)[0] / measured_on(processes)[0] for _ in range(runs)])


def main(size: Size) -> None:
    """A process of the job."""
    from minilte.comm.buffers import payload
    from minilte.comm.communicator import Communicator
    from minilte.comm.mpi import connect
    from minilte.comm.solo import Solo
    from minilte.run.machine import one_blas_thread

    comm = Communicator(connect() or Solo(), size.heads)
    one_round = rounds(size, comm=comm)
    with one_blas_thread():
        one_round()
        first, times = payload(comm.sent), []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            one_round()
            times.append(time.perf_counter() - begun)
    sent = sum(comm.transport.objects((payload(comm.sent) - first) // ROUNDS))
    if comm.process == 0:
        sys.stdout.write(f"{statistics.median(times)} {sent}\n")


if __name__ == "__main__":
    widths, *rest = json.loads(sys.argv[1])
    main(Size(tuple(widths), *rest))
