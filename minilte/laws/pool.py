"""Real MPI under hypothesis: a job of processes, started once, reads cases as lines of JSON.

Hypothesis runs in the parent and never under mpirun: a search that branches differently on two processes would hang them.
"""

import dataclasses
import hashlib
import json
import subprocess
import sys

from minilte.comm.launch import job
from minilte.core import tree
from minilte.core.errors import ProcessLost
from minilte.laws.law import EXACT, Law
from minilte.laws.runs import any_processes
from minilte.laws.strategies import cases
from minilte.laws.world import Case, Variant, build, run


def digest(case: Case, transport=None) -> str:
    """sha256 of the main state at the end of a case's run, on a transport."""
    end = run(build(case).method(), case.heads, case.steps, transport)[-1].main
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in tree.leaves(end))).hexdigest()


@dataclasses.dataclass
class Pool:
    """A running job: `mpirun -n processes python -m minilte.laws.pool`."""

    processes: int

    def __post_init__(self):
        command = job(self.processes, "minilte.laws.pool")
        self.job = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def digests(self, case: Case) -> list[str]:
        """The digest of every process at the end of the case's run. Raises ProcessLost when the job is gone."""
        try:
            self.job.stdin.write(json.dumps(case._asdict()) + "\n")
            self.job.stdin.flush()
            return json.loads(self.job.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise ProcessLost(f"the job of {self.processes} processes ended with code {self.job.wait()}") from None

    def close(self) -> None:
        """End the job."""
        self.job.stdin.close()
        self.job.wait(timeout=30)

    def error(self, case: Case, variant: Variant) -> float:
        """0 if every process has the bits of a serial run, else 1."""
        return float(set(self.digests(case)) != {digest(case)})


def mpi_law(pool: Pool) -> Law:
    """Law L20 on a real MPI job."""
    return Law(
        "L20-mpi",
        "Same bits on a real MPI job",
        f"{pool.processes} MPI processes and a serial run have the same bits",
        0.0,
        EXACT,
        any_processes.__doc__,
        cases,
        pool.error,
    )


def as_case(fields: dict) -> Case:
    """A case from its JSON, where tuples have become lists."""
    return Case(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def serve(transport) -> None:
    """Process 0 reads cases from stdin until it closes; every process runs them; process 0 writes all digests."""
    while True:
        line = transport.objects(sys.stdin.readline() if transport.process == 0 else None)[0]
        if not line:
            return
        digests = transport.objects(digest(as_case(json.loads(line)), transport))
        if transport.process == 0:
            sys.stdout.write(json.dumps(digests) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    from minilte.comm.mpi import connect
    from minilte.run.machine import one_blas_thread

    with one_blas_thread():
        serve(connect())
