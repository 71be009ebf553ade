"""Many merges in one process: memory and open files stay as they are."""

import gc
import os
from pathlib import Path

import tiny

import minilte as ml
from reliability.rows import Row, below

MiB = 2**20  # bytes


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of 20,000 merges, or 1,000."""
    return rows(20_000 if full else 1000, seed)


def rows(merges: int, seed: int) -> list[Row]:
    """Growth from the end of the first tenth to the last merge."""
    config = tiny.config(steps=merges, merge_every=1, reset="ab", eval_every=max(1, merges // 100), seed=seed)
    begun = now = None
    for record in ml.rounds(config):
        if record.step in (merges // 10, merges):
            begun, now = begun or standing(), standing()
    grown, files = (now[0] - begun[0]) / MiB, now[1] - begun[1]
    what = f"growth over {merges:,} merges: memory"
    return [below(what, grown, 2, "MiB"), Row("  open files", str(files), "0", files <= 0)]


def standing() -> tuple[int, int]:
    """Bytes of memory in use, and open files."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list(Path("/proc/self/fd").iterdir()))
