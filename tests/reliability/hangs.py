"""A process that hangs: it is named and the job ends soon after the limit, or a quorum goes on without it."""

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import tiny

from reliability import jobs
from reliability.rows import Row, all_of, below

LIMIT = 1.0  # seconds of patience
SETTINGS = dict(heads=3, batch=12, steps=60, save_every=20)
STOPPING = """import os, signal, sys
from minilte.commands import train
from minilte.core import networks
from minilte.show import pictures
pictures.run_pictures = lambda *_: None
real, calls = networks.loss_and_grads, []
def stopping(*args):
    calls.append(args)
    if os.environ['PMI_RANK'] == '{process}' and len(calls) == {step}:
        os.kill(os.getpid(), signal.SIGSTOP)
    return real(*args)
networks.loss_and_grads = stopping
train.main.exit()"""


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of 9 hung processes, or one."""
    rng, troubles, slowest = random.Random(seed), [], 0.0
    hung, left_out = (9, 6) if full else (1, 2)
    with jobs.place() as place:
        whole = jobs.unbroken(place / "whole", **SETTINGS)
        for at in range(hung):
            trouble, seconds = hang(place / str(at), at % 3, rng.randint(2, 55), whole)
            slowest = max(slowest, seconds)
            troubles += [f"process {at % 3}: {trouble}"] * bool(trouble)
        missed = [
            miss(place / f"quorum-{at}", 1 + at % 2, rng.randint(5, 55), back=at >= left_out / 2)
            for at in range(left_out)
        ]
    missed = [trouble for trouble in missed if trouble]
    return [
        all_of("a process that hangs: named with 75, resumed to the same bits", hung - len(troubles), hung, troubles),
        below("  slowest, from the start of the job: limit + 2 s and the start", slowest, LIMIT + 2 + 2, "s"),
        all_of(
            "a process that hangs, for good or half a second: left out under a quorum",
            left_out - len(missed),
            left_out,
            missed,
        ),
    ]


def hang(folder: Path, process: int, step: int, whole: jobs.Whole) -> tuple[str, float]:
    """(what is wrong with the answer to a process that stops at a step, seconds of the job)."""
    folder.mkdir()
    program = ("-c", STOPPING.format(process=process, step=step), "--quiet")
    begun = time.monotonic()
    flags = ["--out=run", f"--patience={LIMIT:g}", *tiny.flags(**SETTINGS)]
    code = jobs.ended(jobs.start(folder, 3, *flags, program=program))
    seconds = time.monotonic() - begun
    if code != 75 or f"process {process} (last seen" not in jobs.last_words(folder):
        return f"exit {code}, {jobs.last_words(folder)}", seconds
    return jobs.goes_on(folder, whole, 2), seconds


def miss(folder: Path, process: int, step: int, back: bool) -> str:
    """What is wrong with a run that goes on without a process that stops at a step, and is woken half a second later or not."""
    folder.mkdir()
    flags = tiny.flags(
        **SETTINGS | dict(steps=4800 if back else 600, save_every=300),
        **dict(topology="server", quorum=2, grace=0.5, bad_heads="skip"),
    )
    program = ("-c", STOPPING.format(process=process, step=step), "--quiet")
    job = jobs.start(folder, 3, "--out=run", *flags, program=program)
    if back:
        wake = threading.Timer(0.5, lambda: os.kill(jobs.pid_of(folder, process), signal.SIGCONT))
        jobs.until(job, lambda: stopped(jobs.pid_of(folder, process)))
        wake.start()
    code, left = jobs.ended(job), jobs.left(folder)
    if code != 0 or left or jobs.outcome(folder / "run") is None:
        return f"exit {code}, {left} processes left, {jobs.last_words(folder)}"
    trusts = [json.loads(line)["trust"] for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    out = [bool(trust) and str(process) in trust for trust in trusts]
    return (
        "" if any(out) and out[-1] != back else f"left out at {sum(out)} of {len(out)} merges, at the last: {out[-1]}"
    )


def stopped(pid: int | None) -> bool:
    """Does a process stand still?"""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
