"""Bad input to a job of four processes: one line, exit code 2, soon."""

import contextlib
import random
import time
from pathlib import Path

import tiny
from faults import FAULTS, Fault

from reliability import jobs
from reliability.rows import Row, all_of, below

SIZE = 4  # processes


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of every fault, or of a sample."""
    return rows(len(FAULTS) if full else 4, seed)


def rows(many: int, seed: int) -> list[Row]:
    """So many faults, drawn at random."""
    troubles, slowest = [], ("", 0.0)
    with jobs.place() as place:
        for at, name in enumerate(random.Random(seed).sample(list(FAULTS), many)):
            (place / str(at)).mkdir()
            trouble, seconds = answer(place / str(at), FAULTS[name])
            slowest = max(slowest, (name, seconds), key=lambda pair: pair[1])
            troubles += [f"{name}: {trouble}"] * bool(trouble)
    return [
        all_of(
            f"bad input on {SIZE} processes answered by one line and exit code 2",
            many - len(troubles),
            many,
            troubles,
        ),
        below("  slowest answer", slowest[1], 5, "s"),
    ]


def answer(folder: Path, fault: Fault) -> tuple[str, float]:
    """(what is wrong with the answer to a fault, seconds until it came)."""
    with contextlib.chdir(folder):
        fault.disk()
    before = {path.name for path in folder.iterdir()}
    begun = time.monotonic()
    job = jobs.start(folder, SIZE, *tiny.flags(*fault.argv), *fault.argv)
    trouble = jobs.refused(folder, job, 2, fault.words)
    seconds = time.monotonic() - begun
    if trouble:
        return trouble, seconds
    new = {path.name for path in folder.iterdir()} - before - {"said"}
    return f"left {', '.join(sorted(new))}" if new else "", seconds
