"""The most memory that a worker needs: packed int4 under a master, beside dense AdamW training of the same network.

`python -m minilte.bench.memory dense` and `mpirun -n 2 python -m minilte.bench.memory packed` are measured; each
prints its peak in bytes above what it held once NumPy and MPI were loaded. Linux only.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from minilte.around.quantized import quantized
from minilte.bench.step import Size, samples
from minilte.comm.communicator import Communicator
from minilte.comm.launch import job
from minilte.comm.meetings import MASTER
from minilte.core import lora, networks
from minilte.core.lte import lte
from minilte.core.method import rounds
from minilte.core.types import Task
from minilte.methods.facts import Facts
from minilte.quant.codes import Quantizer
from minilte.steps.adamw import adamw

WIDE = Size(widths=(4096,) * 5, batch=64, heads=1, rank=32, every=2)
ROUNDS = 2


def over_dense() -> float:
    """The peak of the packed worker over that of dense training, measured one after the other."""
    return peak([*job(2, "minilte.bench.memory"), "packed"]) / peak(
        [sys.executable, "-m", "minilte.bench.memory", "dense"]
    )


def peak(command: list[str]) -> int:
    """The bytes that a measured command prints."""
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def resident(field: str) -> int:
    """A field of this process's memory in bytes: VmRSS now, VmHWM the peak since it was reset."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return 1024 * int(line.split()[1])


def above(work: Callable[[], object]) -> int:
    """The peak memory of the work, above what was held before."""
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to what is held now
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def dense() -> None:
    """Steps of AdamW on all weights, in place where it can be."""
    net = networks.mlp(WIDE.widths)
    weights, optimizer, (x, y) = networks.init_weights(net, 0), adamw(), samples(WIDE)
    state = optimizer.init(weights)
    for _ in range(WIDE.every * ROUNDS):
        _, grads = networks.loss_and_grads(net, weights, x, y)
        weights, state = optimizer.in_place(weights, grads, state, 1e-4)
        del grads  # freed before the next step


def served(transport) -> None:
    """Rounds of LTE with a head on each of two processes, int4 copies packed, merges included."""
    net = networks.mlp(WIDE.widths)
    weights = networks.blank_weights(net) if transport.process else networks.init_weights(net, 0)
    x, y = samples(WIDE)
    task = Task(net, weights, lambda head, step: (x, y), (0.5, 0.5), adamw(), lambda step: 1e-4)
    plan = lora.plan(weights, [dict.fromkeys(weights, WIDE.rank)] * 2, 16.0)
    whole, comm = lte(task, plan, WIDE.every)._replace(facts=Facts()), Communicator(transport, 2)
    method = quantized(whole, weights, list(weights), Quantizer("int4"), True, lambda layer, step: None)
    loop = rounds(method, comm, MASTER, method.begin(), [method.enter(n) for n in comm.mine], WIDE.every * ROUNDS)
    for _ in loop:
        pass


def main(kind: str) -> None:
    """A measured process; under a master the worker prints."""
    from minilte.comm.mpi import connect
    from minilte.comm.solo import Solo
    from minilte.run.machine import one_blas_thread

    transport = connect() if kind == "packed" else Solo()
    with one_blas_thread():
        found = above(dense if kind == "dense" else lambda: served(transport))
    if transport.process == transport.size - 1:
        sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main(sys.argv[1])
