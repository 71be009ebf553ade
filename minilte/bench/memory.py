"""The most memory that a worker needs: packed int4 under a master, beside dense AdamW training of the same network.

`python -m minilte.bench.memory dense` and `mpirun -n 2 python -m minilte.bench.memory packed` are what is measured;
each prints the bytes of its peak above what it held once NumPy and MPI were there. Linux only.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from minilte.bench.step import Size, samples
from minilte.comm import topologies
from minilte.comm.mpi import job
from minilte.comm.communicator import Ranks
from minilte.comm.topologies import Copy
from minilte.core import lora, lte, networks, optim
from minilte.core.head import replica_of
from minilte.core.types import Task
from minilte.quant import packed
from minilte.quant.codes import Quantizer

WIDE = Size(widths=(4096,) * 5, batch=64, heads=1, rank=32, every=2)
ROUNDS = 2


def over_dense() -> float:
    """The peak of the packed worker over that of dense training, measured one after the other."""
    return peak([*job(2, "minilte.bench.memory"), "packed"]) / peak(
        [sys.executable, "-m", "minilte.bench.memory", "dense"]
    )


def peak(command: list[str]) -> int:
    """What a measured command prints."""
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def resident(field: str) -> int:
    """A field of this process's memory in bytes: VmRSS now, VmHWM the most since `forget`."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return 1024 * int(line.split()[1])


def above(work: Callable[[], object]) -> int:
    """The most memory during the work, above what was held before."""
    Path("/proc/self/clear_refs").write_text("5")  # the most becomes what is held now
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def dense() -> None:
    """Steps of AdamW on all weights, in place where it can be."""
    net = networks.mlp(WIDE.widths)
    weights, optimizer, (x, y) = networks.init_weights(net, WIDE.widths, 0), optim.adamw(), samples(WIDE)
    state = optimizer.init(weights)
    for _ in range(WIDE.every * ROUNDS):
        _, grads = networks.loss_and_grads(net, weights, x, y)
        weights, state = optimizer.update(weights, grads, state, 1e-4, mine=True)
        del grads  # not kept while the next are made


def served(transport) -> None:
    """Rounds of LTE with a head on each of two ranks, int4 copies packed, merges included."""
    net, kind = networks.mlp(WIDE.widths), Quantizer("int4")
    weights = (networks.blank_weights if transport.rank else lambda net, widths: networks.init_weights(net, widths, 0))(
        net, WIDE.widths
    )
    x, y = samples(WIDE)
    task = Task(net, weights, lambda head, step: (x, y), (0.5, 0.5), optim.adamw(), lambda step: 1e-4)
    plan = lora.plan(weights, [dict.fromkeys(weights, WIDE.rank)] * 2, 16.0)
    copy = Copy(
        look=lambda W, layer, step: packed.pack(W, kind),
        empty=lambda shape, dtype: packed.empty(kind, shape, dtype),
        parts=lambda one: {"codes": one.codes, "scales": one.absmax},
        view=lambda one: one,
    )
    way = topologies.server(weights, replica_of(weights, weights), list(weights), copy)
    method, comm = lte.lte(task, plan, WIDE.every, topology=way), Ranks(transport, 2)
    for _ in lte.rounds(method, comm, method.begin(), [method.enter(n) for n in comm.mine], WIDE.every * ROUNDS):
        pass


def main(kind: str) -> None:
    """One process of what is measured; of two ranks the worker speaks."""
    from minilte.comm.mpi import connect
    from minilte.comm.solo import Solo
    from minilte.run.machine import one_blas_thread

    transport = connect() if kind == "packed" else Solo()
    with one_blas_thread():
        found = above(dense if kind == "dense" else lambda: served(transport))
    if transport.rank == transport.size - 1:
        sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main(sys.argv[1])
