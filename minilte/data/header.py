"""What the first row of a table is, and which column is the target. What can be read in two ways is refused."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from minilte.core.errors import BadInput
from minilte.disk.files import shown

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TARGETS = ("label", "labels", "target", "targets", "class", "y")
MISSING = ("na", "n/a", "nan", "null")  # how programs write that there is nothing


class Layout(NamedTuple):
    """How a table is to be read."""

    names: list[str] | None  # of the columns; None: the table has no header
    width: int
    target: int  # position of the target column, from 0

    def said(self, line: int, chosen: bool) -> str:
        """The layout in a sentence; `line` is that of the header, `chosen`: the caller named the target."""
        name = f" ({self.names[self.target]!r:.60})" if self.names else ""
        guess = ", the last" if self.target == self.width - 1 and not (chosen or self._named) else ""
        head = f"line {line} is the header" if self.names else "no header"
        return f"{head}; the target is column {self.target + 1}{name}{guess}"

    @property
    def _named(self) -> bool:
        return self.names is not None and bare(self.names[self.target]) in TARGETS


def bare(name: str) -> str:
    """The name of a column without what some programs put around it."""
    return name.strip(" \t'\"#:").lower()


def is_word(cell: str) -> bool:
    """Is it a name or a label in words? `nan`, an empty cell and "1,234" are bad numbers."""
    try:
        float(cell)
    except ValueError:
        return cell.lower() not in MISSING and any(map(str.isalpha, cell))
    return False


def layout(row: Sequence[str], below: Sequence[str], wanted: str, where: str) -> Layout:
    """The layout of a table with this first row and this second ([] where there is none).

    `wanted` is the target as the caller names it: a name, a number from 1, or "". Raises BadInput.
    """
    row = [row[0].removeprefix("#").strip(), *row[1:]]  # np.savetxt writes its header as a comment
    names = list(row) if _is_header(row, below, wanted, where) else None
    if names and "" in names:
        place = names.index("") + 1
        raise BadInput(f"{where} column {place}: no name, name it; a column that only numbers the rows must go")
    return Layout(names, len(row), _target(names, len(row), wanted, where))


def _is_header(row: Sequence[str], below: Sequence[str], wanted: str, where: str) -> bool:
    """Is the first row one of names? A table whose labels are words has a word in its rows too."""
    words = [i for i, cell in enumerate(row) if is_word(cell)]
    numbers = [i for i, cell in enumerate(row) if NUMBER.fullmatch(cell)]
    if not words:
        if len(row) > 2 and list(row) == list(map(str, range(len(row)))):
            raise BadInput(
                f"{where}: 0, 1, 2, … are the names that pandas gives to columns, or a row of numbers; delete the line,"
                " or name the columns, or move the row down"
            )
        return False
    if not numbers:
        return True
    header = any(bare(row[i]) in TARGETS or row[i] == wanted for i in words)
    at = len(row) - 1 if (place := _place(wanted)) is None else place
    labelled = words == [at] and at < len(below) and is_word(below[at])
    if header == labelled:
        raise BadInput(
            f"{where}: column {words[0] + 1} ({row[words[0]]!r:.60}) is a word and column {numbers[0] + 1} a number, so"
            " it may be a header or a row: name every column in words, or mend the row (labels in words: --target)"
        )
    return header


def _target(names: Sequence[str] | None, width: int, wanted: str, where: str) -> int:
    """The position of the target column: the one wanted, else the one so named, else the last."""
    if wanted:
        return _wanted(names, width, wanted, where)
    found = [i for i, name in enumerate(names or ()) if bare(name) in TARGETS]
    if len(found) > 1:
        raise BadInput(
            f"{where}: columns {[i + 1 for i in found]} are all named as targets, expected one: say --target NAME"
        )
    return found[0] if found else width - 1


def _wanted(names: Sequence[str] | None, width: int, wanted: str, where: str) -> int:
    """The position of the column of this name, else of this number."""
    found = [i for i, name in enumerate(names or ()) if wanted in (name, bare(name))]
    if len(found) == 1:
        return found[0]
    if not found and (place := _place(wanted)) is not None and 0 <= place < width:
        return place
    have = f"the columns {', '.join(map(shown, names))}" if names else "no header"
    raise BadInput(
        f"{where}: --target {wanted!r:.60} fits {len(found)} columns, expected one name of {have:.120}, or 1 to {width}"
    )


def _place(wanted: str) -> int | None:
    """The position that a number from 1 names; None for other words."""
    return int(wanted) - 1 if re.fullmatch(r"\d{1,9}", wanted, re.ASCII) else None
