"""A rank that hangs: it is named, the job ends soon after the limit, and the run goes on."""

import random
import time
from pathlib import Path

import tiny

from reliability import jobs
from reliability.rows import Row, all_of, below

LIMIT = 1.0  # seconds of patience
SETTINGS = dict(heads=3, batch=12, steps=60, save_every=20)
STOPPING = """import os, signal, sys
from minilte import train
from minilte.core import models
from minilte.runs import job
job.pictures = lambda *_: None
real, calls = models.loss_and_grads, []
def stopping(*args):
    calls.append(args)
    if os.environ['PMI_RANK'] == '{rank}' and len(calls) == {step}:
        os.kill(os.getpid(), signal.SIGSTOP)
    return real(*args)
models.loss_and_grads = stopping
sys.exit(train.main(sys.argv[1:]))"""


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of 9 hung ranks, or 2."""
    rng, troubles, slowest = random.Random(seed), [], 0.0
    hung = 9 if full else 2
    with jobs.place() as place:
        (place / "whole").mkdir()
        whole = jobs.unbroken(place / "whole", **SETTINGS)
        for at in range(hung):
            trouble, seconds = hang(place / str(at), at % 3, rng.randint(2, 55), whole)
            slowest = max(slowest, seconds)
            troubles += [f"rank {at % 3}: {trouble}"] * bool(trouble)
    return [
        all_of("a rank that hangs: named with 75, resumed to the same bits", hung - len(troubles), hung, troubles),
        below("  slowest, from the start of the job: limit + 2 s and the start", slowest, LIMIT + 2 + 2, "s"),
    ]


def hang(folder: Path, rank: int, step: int, whole: jobs.Whole) -> tuple[str, float]:
    """(what is wrong with the answer to a rank that stops at a step, seconds of the job)."""
    folder.mkdir()
    program = STOPPING.format(rank=rank, step=step)
    begun = time.monotonic()
    flags = ["--out=run", f"--patience={LIMIT:g}", *tiny.flags(**SETTINGS)]
    code = jobs.ended(jobs.start(folder, 3, *flags, program=program))
    seconds = time.monotonic() - begun
    if code != 75 or f"rank {rank} (last seen" not in jobs.last_words(folder):
        return f"exit {code}, {jobs.last_words(folder)}", seconds
    code = jobs.ended(jobs.start(folder, 2, "--resume=run"))
    same = code == 0 and jobs.outcome(folder / "run") == whole.outcome
    return "" if same else f"resumed with exit {code}, {jobs.last_words(folder)}", seconds
