"""The metrics of a run folder: one JSON line a merge."""

import math
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import shown
from minilte.run.observe import Record

NAMES = set(Record._fields) - {"state"}


def write_record(log: Path, record: Record) -> None:
    """One more line. Raises DiskTrouble."""
    folder.append_line(log, record.plain())


def read_records(log: Path) -> list[Record]:
    """The records in the metrics of a run. Raises BadInput naming file and line."""
    records = []
    for number, line in enumerate(folder.read_lines(log), 1):
        if not (set(line) <= NAMES and all(name in line and fits(line[name]) for name, fits in LINE.items())):
            raise BadInput(
                f"{shown(log)} line {number}: not a record that minilte wrote; restore it, or delete that line"
            )
        records.append(Record(**line))
    return records


def keep_until(log: Path, step: int) -> None:
    """Drop the records after a checkpoint: its run will write them again. At step 0 nothing is kept."""
    folder.write_lines(log, [record.plain() for record in read_records(log) if 0 < step and record.step <= step])


def number(value) -> bool:
    """Is it a finite number of at least 0?"""
    return type(value) in (int, float) and 0 <= value < math.inf


LINE = {  # what a line of the metrics must hold
    "step": lambda value: type(value) is int and value >= 0,
    "samples": lambda value: type(value) is int and value >= 0,
    "seconds": number,
    "losses": lambda value: isinstance(value, list) and all(one is None or number(one) for one in value),
}
