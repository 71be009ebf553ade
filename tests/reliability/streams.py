"""Streams that fail: whatever becomes of stdout and stderr, a command ends as it would without."""

import os
import subprocess
import sys
from pathlib import Path

import tiny

from reliability import cases, jobs
from reliability.rows import Row

WORDS = (">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full")
ENDS = {0: (), 2: ("--heads=0",), 77: ("--optimizer=sgd", "--lr=1e30")}  # by exit code
SHELL = ["sh", "-c", 'exec "$0" "$@" {words}', sys.executable]


def measure(full: bool, seed: int) -> list[Row]:
    """The row of every stream and outcome, or of three."""
    what = "stdout, stderr closed, full or without a reader: exit code and files as ever"
    return [cases.row(what, CASES, None if full else 3, seed)]


def failing(words: str, code: int, processes: int | None):
    """A case: a command behind a redirection of its streams."""

    def case(folder: Path) -> str:
        python = [part.format(words=words) for part in SHELL]
        return told(folder, code, jobs.ended(jobs.start(folder, processes, *flags(code), python=python)))

    return case


def unread(code: int):
    """A case: a command whose reader has gone."""

    def case(folder: Path) -> str:
        reader, writer = os.pipe()
        os.close(reader)
        (folder / "said").touch()
        program = [sys.executable, "-c", jobs.PLAIN, *flags(code)]
        got = subprocess.run(program, cwd=folder, env=jobs.ENV, stdout=writer, stderr=writer, timeout=jobs.LIMIT)
        os.close(writer)
        return told(folder, code, got.returncode)

    return case


def flags(code: int) -> list[str]:
    """A command line that ends with this code."""
    return ["--out=run", *tiny.flags(*ENDS[code]), *ENDS[code]]


def told(folder: Path, code: int, got: int | None) -> str:
    """What is wrong with the end of a command that must leave with a code, and a whole run behind code 0 alone."""
    whole = jobs.outcome(folder / "run") is not None
    if got != code or whole != (code == 0):
        return f"exit {got}, expected {code}; summary {'there' if whole else 'missing'}; {jobs.last_words(folder)}"
    return f"{many} processes left" if (many := jobs.left(folder)) else ""


CASES = {
    f"{words}, exit {code}, {processes or 'no'} processes of MPI": failing(words, code, processes)
    for words in WORDS
    for code in ENDS
    for processes in (None, 2)
} | {f"no reader, exit {code}": unread(code) for code in ENDS}
