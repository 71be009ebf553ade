"""SIGINT and SIGTERM at random times: the run saves, leaves with 130 or 143, and goes on to the same bits.

A job that is still starting has nothing to save: it leaves no folder, and at most one line.
"""

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
NUMBERS = (signal.SIGINT, signal.SIGTERM)
LATE = "late"
START = 0.6  # seconds, about; in them a process imports all it needs, and MPI starts


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of 20 stops of either kind, or two."""
    many = 20 if full else 2
    return [*rows(many, seed), starts(many, seed)]


def rows(stops: int, seed: int) -> list[Row]:
    """So many stops, each of a run of its own."""
    troubles, slowest, run = [], 0.0, 0
    with jobs.place() as place:
        whole, done = jobs.unbroken(place / "whole", **SETTINGS), 0
        while done < stops:
            folder, number = place / str(run), NUMBERS[done % 2]
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
    trouble = jobs.goes_on(folder, whole, again)
    return trouble and f"{where}, {again} then: {trouble}", seconds


# ---------------------------------------------------------------- while a job starts


def starts(stops: int, seed: int) -> Row:
    """The row of so many signals to jobs of two processes that are on their way to the first step."""
    troubles = []
    with jobs.place() as place:
        for at in range(stops):
            (folder := place / str(at)).mkdir()
            delay = random.Random(f"{seed}.{at}").uniform(0, START)
            if trouble := start(folder, NUMBERS[at % 2], delay):
                troubles.append(f"{NUMBERS[at % 2].name} after {delay:.2f} s of a start: {trouble}")
    return all_of("stopped while a job starts: 130 or 143, one line", stops - len(troubles), stops, troubles)


def start(folder: Path, number: int, delay: float) -> str:
    """What is wrong with the end of a job that got a signal so long after its processes began to import."""
    program = ("-m", "minilte.train", "--quiet")
    job = jobs.start(folder, 2, "--out=run", *tiny.flags(**SETTINGS | dict(steps=100_000)), program=program)
    jobs.until(job, lambda: all(importing(jobs.pid_of(folder, process)) for process in range(2)))
    time.sleep(delay)
    begun = time.monotonic()
    job.send_signal(number)
    code, seconds = jobs.ended(job), time.monotonic() - begun
    said = (folder / "said").read_text()
    lines = len(re.findall("^minilte: error: interrupted before the first step$", said, re.M))
    lines += len(re.findall("^stopped at step ", said, re.M))
    if code != 128 + number or lines != 1 or "Traceback" in said or seconds > 3:
        return f"exit {code} after {seconds:.1f} s, {lines} lines, {jobs.last_words(folder)}"
    return f"{many} processes left" if (many := jobs.left(folder)) else ""


def importing(pid: int | None) -> bool:
    """Has a process come so far that it imports NumPy?"""
    try:
        return pid is not None and "_multiarray_umath" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
