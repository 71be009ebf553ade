"""`mpirun -n 2 python -m held CODE`: the most memory a master and a worker held at a time, and the bytes of a matrix."""

import sys
import tracemalloc

from minilte.comm.mpi import connect
from minilte.run.session import advance, first_state, open_session
from minilte.settings.config import Config

WIDE = 1024
CONFIG = dict(
    data="least-squares",
    inputs=4,
    outputs=4,
    samples=64,
    model="deep-linear",
    widths=(WIDE, WIDE),
    heads=2,
    rank=4,
    alpha=4.0,
    batch=8,
    steps=4,
    merge_every=2,
)

if __name__ == "__main__":
    transport = connect()
    config = Config(**CONFIG, quant=sys.argv[1])
    transport.objects(None)
    tracemalloc.start()
    session = open_session(config, transport)
    for _ in advance(session, first_state(session)):
        pass
    peaks = transport.objects(tracemalloc.get_traced_memory()[1])
    if transport.process == 0:
        print(*peaks, 4 * WIDE * WIDE)
