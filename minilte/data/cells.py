"""A CSV file as numbers, read strictly: what is not plainly a number is refused with its line and column.

`np.genfromtxt` would turn text into NaN, `float` takes `1_0`, `nan` and Arabic digits: neither is used alone.
"""

import csv
import io
import math
import os
import re
from array import array
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.disk.files import LIMIT, opened, reason, shown

WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TARGETS = ("label", "target", "y")


class Cells(NamedTuple):
    """A table of numbers, the target column apart."""

    x: Array  # (a, d)
    y: Array  # (a,)
    whole: Array  # (a,) bool: the target is written without '.' and exponent
    lines: Array  # (a,) line of the file that each row ends on, from 1


def read_cells(path: str) -> Cells:
    """The numbers of a CSV file: utf-8, commas, at least one feature and one target column, a header or none.

    The first row is a header if a cell of it is text. The target is the column named `label`, `target` or
    `y`, else the last. Blank lines are skipped. Raises BadInput naming file, line and column.
    """
    where = shown(path)
    with opened(path) as stream:
        if os.fstat(stream.fileno()).st_size > LIMIT:
            raise BadInput(f"{where}: larger than {LIMIT} bytes, expected less: store it as .npz")
        return _table(_rows(stream, where), where)


def _rows(stream: BinaryIO, where: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, stripped cells) of every line that is not blank."""
    # utf-8-sig: spreadsheets put a byte order mark in front
    with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, [cell.strip() for cell in row]
        except csv.Error as error:
            raise BadInput(f"{where} line {reader.line_num}: not CSV: {reason(error)}") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{where}: not text in utf-8, save it as such: {reason(error)}") from error


def _table(rows: Iterator[tuple[int, list[str]]], where: str) -> Cells:
    first = next(rows, None)
    if first is None:
        raise BadInput(f"{where}: empty, expected rows of numbers")
    header = first[1] if any(map(_is_text, first[1])) else None
    width = len(first[1])
    if width < 2:
        raise BadInput(f"{where} line {first[0]}: 1 column, expected features and a target, commas between")
    target = _target(header, width, f"{where} line {first[0]}")
    values, whole, lines = array("d"), array("b"), array("q")
    for line, row in rows if header else chain([first], rows):
        values.extend(_numbers(row, width, header, f"{where} line {line}"))
        whole.append(WHOLE.fullmatch(row[target]) is not None)
        lines.append(line)
    if not lines:
        raise BadInput(f"{where}: a header and no rows, expected rows of numbers below it")
    table = np.asarray(values).reshape(-1, width)
    x = np.delete(table, target, axis=1)
    return Cells(x, table[:, target], np.asarray(whole, bool), np.asarray(lines))


def _is_text(cell: str) -> bool:
    """Not a number of any kind: `nan` and an empty cell are bad numbers, not names of columns."""
    try:
        float(cell or 0)
    except ValueError:
        return True
    return False


def _target(header: list[str] | None, width: int, where: str) -> int:
    """The position of the target column."""
    if header is None:
        return width - 1
    if "" in header:
        raise BadInput(
            f"{where} column {header.index('') + 1}: no name, name it; a column that only numbers the rows must go"
        )
    found = [i for i, name in enumerate(header) if name.lower() in TARGETS]
    if len(found) > 1:
        raise BadInput(
            f"{where}: columns {[i + 1 for i in found]} are all named as targets, expected one: rename the others"
        )
    return found[0] if found else width - 1


def _numbers(row: list[str], width: int, header: list[str] | None, where: str) -> list[float]:
    """The cells of a row as floats."""

    def place(i):
        return f"{where} column {i + 1}" + (f" ({header[i]!r:.60})" if header and i < width else "")

    if len(row) != width:
        what = "missing" if len(row) < width else "one too many"
        raise BadInput(f"{place(min(len(row), width))} is {what}: {len(row)} cells, expected {width}")
    numbers = [float(cell) if NUMBER.fullmatch(cell) else math.nan for cell in row]
    for i, number in enumerate(numbers):
        if not math.isfinite(number):
            raise BadInput(f"{place(i)}: expected a finite number, got {row[i]!r:.60}")
    return numbers
