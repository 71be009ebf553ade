"""A CSV file as numbers, read strictly: what is not plainly a number is refused with its line and column.

`np.genfromtxt` would turn text into NaN, `float` takes `1_0`, `nan` and Arabic digits: neither is used alone.
"""

import csv
import io
import math
import os
import re
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.types import Array
from minilte.data.header import NUMBER, Layout, is_word, layout
from minilte.disk.files import LIMIT, opened, reason, shown

WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


class Cells(NamedTuple):
    """A table of numbers, the target column apart."""

    x: Array  # (a, d)
    y: Array  # (a,), numbers, or words
    whole: Array  # (a,) bool: the target is written without '.' and exponent
    lines: Array  # (a,) line of the file that each row ends on, from 1
    said: str = ""  # how the table was read


def read_cells(path: str, target: str = "") -> Cells:
    """The numbers of a CSV file: utf-8, commas, at least one feature and one target column, a header or none.

    The first row is a header if its cells are words; see `layout`. The target is the column `target`, a name or a
    number from 1; else the column named `label`, `class`, `target` or `y`; else the last. Its cells may all be words.
    Blank lines are skipped. Raises BadInput naming file, line and column.
    """
    where = shown(path)
    with opened(path) as stream:
        if os.fstat(stream.fileno()).st_size > LIMIT:
            raise BadInput(f"{where}: larger than {LIMIT} bytes, expected less: store it as .npz")
        return _table(_rows(stream, where), target, where)


def _rows(stream: BinaryIO, where: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, stripped cells) of every line that is not blank."""
    # utf-8-sig: spreadsheets put a byte order mark in front
    with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True, skipinitialspace=True)  # or a blank would make the quote a letter
        try:
            for row in reader:
                if row:
                    yield reader.line_num, [cell.strip() for cell in row]
        except csv.Error as error:
            raise BadInput(f"{where} line {reader.line_num}: not CSV: {reason(error)}") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{where}: not text in utf-8, save it as such: {reason(error)}") from error


def _table(rows: Iterator[tuple[int, list[str]]], wanted: str, where: str) -> Cells:
    first, second = next(rows, None), next(rows, None)
    if first is None:
        raise BadInput(f"{where}: empty, expected rows of numbers")
    line, row = first
    if len(row) < 2:
        raise BadInput(f"{where} line {line}: 1 column, expected features and a target, commas between")
    shape = layout(row, second[1] if second else [], wanted, f"{where} line {line}")
    values, goals, lines = array("d"), [], array("q")
    for line, row in chain([first] * (shape.names is None), [second] * (second is not None), rows):
        values.extend(_numbers(row, shape, f"{where} line {line}"))
        goals.append(sys.intern(row[shape.target]))  # words are few, and rows many
        lines.append(line)
    if not lines:
        raise BadInput(f"{where}: a header and no rows, expected rows of numbers below it")
    x = np.asarray(values).reshape(-1, shape.width - 1)
    y = _goals(goals, lambda i: f"{where} line {lines[i]} column {shape.target + 1}")
    whole = np.array([WHOLE.fullmatch(goal) is not None for goal in goals])
    return Cells(x, y, whole, np.asarray(lines), shape.said(first[0], bool(wanted)))


def _numbers(row: list[str], shape: Layout, where: str) -> list[float]:
    """The features of a row as floats; its target is a finite number or a word."""

    def place(i):
        return f"{where} column {i + 1}" + (f" ({shape.names[i]!r:.60})" if shape.names and i < shape.width else "")

    if len(row) != shape.width:
        what = "missing" if len(row) < shape.width else "one too many"
        raise BadInput(f"{place(min(len(row), shape.width))} is {what}: {len(row)} cells, expected {shape.width}")
    numbers = [float(cell) if NUMBER.fullmatch(cell) else math.nan for cell in row]
    for i, number in enumerate(numbers):
        if not (math.isfinite(number) or i == shape.target and is_word(row[i])):
            raise BadInput(f"{place(i)}: expected a finite number, got {row[i]!r:.60}")
    del numbers[shape.target]
    return numbers


def _goals(cells: list[str], place: Callable[[int], str]) -> Array:
    """The target column, all words or all numbers. Raises BadInput."""
    words = list(map(is_word, cells))
    if all(words):
        return np.array(cells)
    if any(words):
        word, number = words.index(True), words.index(False)
        raise BadInput(
            f"{place(word)}: {cells[word]!r:.60} is a word and {cells[number]!r:.60} a number ("
            f"{place(number)}), expected targets of one kind"
        )
    return np.array(cells, float)
