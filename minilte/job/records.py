"""The metrics of a run folder: one JSON line a merge."""

import sys
from collections.abc import Callable
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import shown
from minilte.run.observe import Record


def count(value) -> bool:
    """Is it a whole number of at least 0 that NumPy can hold, and no bool?"""
    return type(value) is int and 0 <= value < 2**63


def number(value) -> bool:
    """Is it a finite number of at least 0? 1e400 is infinite, and a whole number of 400 digits beyond every float."""
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def optional(fits: Callable) -> Callable:
    """The check for a value that may also be None."""
    return lambda value: value is None or fits(value)


def table(fits: Callable) -> Callable:
    """The check for an object whose values all fit."""
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


NAMES = set(Record._fields) - {"state"}
LINE = {  # what a line of the metrics must hold
    "step": count,
    "samples": count,
    "seconds": number,
    "losses": lambda value: isinstance(value, list) and all(map(optional(number), value)),
}
CHECKS = (
    {name: optional(number) for name in NAMES}
    | LINE
    | {  # and what it may hold
        "trust": optional(table(number)),
        "ranks": optional(table(count)),
        "measures": optional(
            lambda value: isinstance(value, dict) and table(table(lambda _: True))(value.get("layers"))
        ),
    }
)


def write_record(log: Path, record: Record) -> None:
    """Append a line. Raises DiskTrouble."""
    folder.append_line(log, record.plain())


def read_records(log: Path) -> list[Record]:
    """The records in the metrics of a run. Raises BadInput naming file and line."""
    records = []
    for place, line in enumerate(folder.read_lines(log), 1):
        if not (LINE.keys() <= line.keys() <= NAMES and all(CHECKS[name](line[name]) for name in line)):
            raise BadInput(
                f"{shown(log)} line {place}: not a record that minilte wrote; restore it, or delete that line"
            )
        records.append(Record(**line))
    return records


def keep_until(log: Path, step: int) -> None:
    """Drop the records after a checkpoint: its run will write them again. At step 0 nothing is kept."""
    folder.write_lines(log, [record.plain() for record in read_records(log) if 0 < step and record.step <= step])
