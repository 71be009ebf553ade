"""SIGINT and SIGTERM at random times: the run saves, leaves with 130 or 143, and goes on to the same bits."""

import random
import re
import signal
import time
from pathlib import Path

import tiny

from reliability import jobs
from reliability.rows import Row, all_of, below

PROCESSES = (1, 2, 3, 4)
SETTINGS = dict(heads=3, batch=12, steps=400, save_every=40, reset="ab")
LATE = "late"


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of 20 stops, or 4."""
    return rows(20 if full else 4, seed)


def rows(stops: int, seed: int) -> list[Row]:
    """So many stops, each of a run of its own."""
    troubles, slowest, run = [], 0.0, 0
    with jobs.place() as place:
        (place / "whole").mkdir()
        whole, done = jobs.unbroken(place / "whole", **SETTINGS), 0
        while done < stops:
            folder, number = place / str(run), (signal.SIGINT, signal.SIGTERM)[done % 2]
            folder.mkdir()
            trouble, seconds = stop(folder, number, whole, f"{seed}.{run}")
            run += 1
            if trouble != LATE:
                done, slowest = done + 1, max(slowest, seconds)
                troubles += [trouble] * bool(trouble)
    return [
        all_of(
            "stopped by SIGINT or SIGTERM: saved, resumed to the same bits", stops - len(troubles), stops, troubles
        ),
        below("  slowest, from the signal to the exit", slowest, 2, "s"),
    ]


def stop(folder: Path, number: int, whole: jobs.Whole, seed: str) -> tuple[str, float]:
    """(what is wrong with a run that got a signal, LATE where it had ended; seconds from the signal to the exit)."""
    rng, run = random.Random(seed), folder / "run"
    size, again, goal = rng.choice(PROCESSES), rng.choice(PROCESSES), rng.uniform(0, 0.9 * whole.written)
    where = f"seed {seed}, {signal.Signals(number).name} on {size} processes"
    process = jobs.start(folder, size, "--out=run", *tiny.flags(**SETTINGS))
    if not jobs.until(process, lambda: jobs.written(run) > goal):
        jobs.ended(process)
        return LATE, 0.0
    begun = time.monotonic()
    process.send_signal(number)
    code = jobs.ended(process)
    seconds = time.monotonic() - begun
    if code == 0 and jobs.outcome(run) == whole.outcome:
        return LATE, 0.0
    saved = re.search(r"^stopped at step (\d+) and saved", (folder / "said").read_text(), re.M)
    if code != 128 + number or not saved or not (run / "ckpt" / f"step-{saved[1]}").exists():
        return f"{where}: exit {code}, {jobs.last_words(folder)}", seconds
    code = jobs.ended(jobs.start(folder, again, "--resume=run"))
    if code != 0 or jobs.outcome(run) != whole.outcome or jobs.temporary(run) or jobs.left(folder):
        return f"{where}, resumed on {again}: exit {code}, {jobs.last_words(folder)}", seconds
    return "", seconds
