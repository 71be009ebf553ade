"""Dense training by torch's DistributedDataParallel over gloo: the full-rank neighbour on several processes.

`python -m minilte.bench.ddp PROCESS SIZE FILE` is a process of the job; process 0 prints the median
seconds of a step.
"""

import statistics
import subprocess
import sys
import tempfile

from minilte.bench.step import Size

STEPS = 6


def seconds_on(processes: int) -> float:
    """The median seconds of a step on this many processes, a thread each. Raises ModuleNotFoundError without torch."""
    import torch  # noqa: F401  raises here, and not in a child

    with tempfile.NamedTemporaryFile() as meeting:
        command = [sys.executable, "-m", "minilte.bench.ddp"]
        jobs = [
            subprocess.Popen(
                [*command, str(process), str(processes), meeting.name + ".store"], stdout=subprocess.PIPE, text=True
            )
            for process in range(processes)
        ]
        outs = [job.communicate(timeout=300)[0] for job in jobs]
    return float(outs[0].split()[-1])


def of_a_process(processes: int) -> Size:
    """The work of a process in a step: its part of the batch, for a whole network."""
    return Size()._replace(batch=Size().batch // processes, heads=1)


def main(process: int, size: int, store: str) -> None:
    """A process of the job."""
    import torch

    from minilte.bench.peers import dense, network
    from minilte.bench.timing import seconds

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=process, world_size=size)
    own = of_a_process(size)
    net = torch.nn.parallel.DistributedDataParallel(network(own.widths))
    step = dense(own, net)
    times = [seconds(step) for _ in range(STEPS + 1)][1:]
    torch.distributed.destroy_process_group()
    if process == 0:
        sys.stdout.write(f"{statistics.median(times)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
