"""Where a step spends its time, function by function."""

import cProfile
import pstats
from pathlib import Path

from minilte.bench.step import Size, rounds
from minilte.run.machine import one_blas_thread


def profile(size: Size, calls: int = 3) -> list[tuple[str, float]]:
    """(function, its fraction of the time) on one thread, largest first; a product counts for its caller."""
    one_round, profiler = rounds(size, threads=1), cProfile.Profile()
    with one_blas_thread():
        one_round()
        profiler.enable()
        for _ in range(calls):
            one_round()
        profiler.disable()
    own: dict[str, float] = {}
    for (file, _, name), (_, _, seconds, _, _) in pstats.Stats(profiler).stats.items():
        where = f"{Path(file).stem}.{name}" if "minilte" in file else "numpy and Python"
        own[where] = own.get(where, 0.0) + seconds
    total = sum(own.values())
    return sorted(((name, seconds / total) for name, seconds in own.items()), key=lambda row: -row[1])
