"""Outputs that are taken, and pictures that fail: nothing that was there is touched, and no number is lost."""

import contextlib
import os
import sys
import time
from pathlib import Path

import tiny

from reliability import cases, jobs
from reliability.rows import Row

SOON = 5.0  # seconds
COMMANDS = {  # what asks for an output at `place`, beside a finished run in whole/
    "report": ("whole", "--out=place"),
    "export": ("whole", "--to=npz", "--out=place"),
    "export --to peft": ("whole", "--to=peft", "--out=place"),
    "train": ("--out=place", *tiny.flags()),
    "cost --plot": ("--plot=place",),
}


def measure(full: bool, seed: int) -> list[Row]:
    """The rows of every command and place, and of every trouble with pictures, or a few."""
    return [
        cases.row("outputs that are taken: one line, exit code 2, nothing touched", TAKEN, None if full else 3, seed),
        cases.row("pictures that fail: the run is whole", PICTURES, None if full else 1, seed),
    ]


# ---------------------------------------------------------------- places that are taken

PLACES = {
    "a pipe": os.mkfifo,
    "a file": lambda path: path.write_text("mine"),
    "a link to nothing": lambda path: path.symlink_to("nowhere/deep"),
}


def taken(command: str, make):
    """A case: a command whose output is there already."""

    def case(folder: Path) -> str:
        with contextlib.chdir(folder):
            tiny.go_on(tiny.begin(Path("whole")))
            make(Path("place"))
        before, begun = cases.contents(folder), time.monotonic()
        program = ("-m", f"minilte.{command.split()[0]}", *COMMANDS[command])
        job = jobs.start(folder, None, program=program)
        if trouble := jobs.refused(folder, job, 2, ["place"]):
            return trouble
        if cases.contents(folder) != before:
            return "something was touched"
        return f"{seconds:.1f} s" if (seconds := time.monotonic() - begun) > SOON else ""

    return case


TAKEN = {f"{command} into {name}": taken(command, make) for command in COMMANDS for name, make in PLACES.items()}


# ---------------------------------------------------------------- pictures


def drawn(python=(sys.executable,), rc: str = "", **env: str):
    """A case: a run with its pictures, in a world in which they may fail."""

    def case(folder: Path) -> str:
        if rc:
            (folder / "matplotlibrc").write_text(rc)
        whole = jobs.unbroken(folder / "whole")
        program = ("-m", "minilte.train", "--out=run")
        job = jobs.start(folder, None, *tiny.flags(), program=program, python=python, **env)
        code, said = jobs.ended(job), (folder / "said").read_text(errors="replace")
        if code != 0 or jobs.outcome(folder / "run") != whole.outcome or "Traceback" in said:
            return f"exit {code}, {jobs.last_words(folder)}"
        return ""

    return case


PICTURES = {
    "no such backend": drawn(MPLBACKEND="nonsense"),
    "a matplotlibrc that is none": drawn(rc="backend: nonsense\nfont.size: -1\nsavefig.dpi: 1e9\n"),
    "no home": drawn(HOME="/proc", MPLCONFIGDIR="/proc/none", XDG_CACHE_HOME="/proc", XDG_CONFIG_HOME="/proc"),
    "few files may be open": drawn(["sh", "-c", 'ulimit -n 24; exec "$0" "$@"', sys.executable]),
    "no place for them": drawn(["sh", "-c", 'mkdir run; : > run/.minilte-x.tmp; exec "$0" "$@"', sys.executable]),
}
