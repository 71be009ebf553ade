"""Cases by name: a case is a function of a new folder, and tells what was wrong there, or nothing."""

import random
from collections.abc import Callable
from pathlib import Path

from reliability import jobs
from reliability.rows import Row, all_of

Cases = dict[str, Callable[[Path], str]]


def row(what: str, cases: Cases, many: int | None, seed: int) -> Row:
    """The row of so many of the cases, drawn at random, each in a folder of its own; None for all."""
    names = list(cases) if many is None else random.Random(seed).sample(list(cases), many)
    troubles = []
    with jobs.place() as place:
        for at, name in enumerate(names):
            (folder := place / str(at)).mkdir()
            if trouble := cases[name](folder):
                troubles.append(f"{name}: {trouble}")
    return all_of(what, len(names) - len(troubles), len(names), troubles)


def contents(place: Path) -> dict[Path, tuple]:
    """All that is in a folder but `said`: what it is, when it was changed, and its bytes."""
    found = {path: path.lstat() for path in place.rglob("*") if path.name != "said"}
    return {
        path: (stat.st_ino, stat.st_mode, path.is_file() and (stat.st_mtime_ns, path.read_bytes()))
        for path, stat in found.items()
    }
