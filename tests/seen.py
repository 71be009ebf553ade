"""What a person sees, as values: the lines of a picture by their labels, the cells of a table by row and column."""

import contextlib
import importlib
import pkgutil
import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from typing import NamedTuple
from unittest import mock

import numpy as np

from minilte import show
from minilte.show import drawing

# ---------------------------------------------------------------- pictures


@contextlib.contextmanager
def pictures() -> Iterator[dict]:
    """name -> figure of matplotlib's, of all that is drawn meanwhile, into a folder or a page; nothing is saved."""
    drawn: dict = {}
    saved = drawing.draw

    def draw(place, name, paint, size=(6.4, 4.0), panels=(1, 1), of=""):
        drawn[name] = drawing.painted(paint, size, panels)

    def inline(name, paint, size=(4.4, 3.0)):
        draw(None, name, paint, size)
        return f'<svg data-name="{name}"></svg>'

    modules = [
        importlib.import_module(f"{show.__name__}.{found.name}") for found in pkgutil.iter_modules(show.__path__)
    ]
    with contextlib.ExitStack() as held:
        for module in modules:
            if getattr(module, "draw", None) is saved:
                held.enter_context(mock.patch.object(module, "draw", draw))
        held.enter_context(mock.patch.object(drawing, "inline", inline))
        yield drawn


class Line(NamedTuple):
    """A line as it was drawn; NaN is a gap."""

    x: list[float]
    y: list[float]
    colour: str
    dash: str


def as_drawn(artist) -> Line:
    """A line of matplotlib's."""
    x, y = (np.asarray(values, float).tolist() for values in artist.get_data())
    return Line(x, y, artist.get_color(), artist.get_linestyle())


def lines(axes) -> dict[str, Line]:
    """The lines with a label, by it, in their order."""
    found = [(artist.get_label(), as_drawn(artist)) for artist in axes.get_lines()]
    named = [(label, line) for label, line in found if not label.startswith("_")]
    assert len({label for label, _ in named}) == len(named), "two lines have one label"
    return dict(named)


def unnamed(axes) -> list[Line]:
    """The curves without a label, in their order: neither `verticals` nor `levels`."""
    found = [as_drawn(artist) for artist in axes.get_lines() if artist.get_label().startswith("_")]
    return [line for line in found if not is_vertical(line) and not is_level(line)]


def is_vertical(line: Line) -> bool:
    return line.y == [0, 1] and len(line.x) == 2 and line.x[0] == line.x[1]


def is_level(line: Line) -> bool:
    return line.x == [0, 1] and len(line.y) == 2 and line.y[0] == line.y[1]


def verticals(axes) -> list[tuple[float, str, str]]:
    """(x, colour, dash) of every line from the bottom to the top."""
    return [(line.x[0], *line[2:]) for line in map(as_drawn, axes.get_lines()) if is_vertical(line)]


def levels(axes) -> list[float]:
    """y of every line from the left to the right."""
    return [line.y[0] for line in map(as_drawn, axes.get_lines()) if is_level(line)]


def legend(axes) -> list[str]:
    """The words of the legend, its title first where it has one."""
    if (found := axes.get_legend()) is None:
        return []
    return [text for text in (found.get_title().get_text(), *(one.get_text() for one in found.get_texts())) if text]


def axes_of(figure) -> tuple[str, str, str]:
    """(label of x, label of y, scale of y) of a picture of a single panel."""
    (axes,) = figure.axes
    return axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()


def tone(line: Line) -> int:
    """The tone of a line on a page."""
    assert line.colour.startswith(drawing.TONE)
    return int(line.colour.removeprefix(drawing.TONE), 16)


def points(line: Line) -> list[tuple[float, float]]:
    """The points of a line, gaps left out."""
    return [(x, y) for x, y in zip(line.x, line.y, strict=True) if not np.isnan(y)]


# ---------------------------------------------------------------- pages


def parsed(*parts) -> xml.Element:
    """Pieces of a page, or a whole one, as a tree."""
    text = "".join(getattr(part, "text", part) for part in parts)
    if "<main>" in text:
        text = text[text.index("<main>") : text.index("</main>") + len("</main>")]
    return xml.fromstring(f"<page>{text}</page>")


def words(element: xml.Element) -> str:
    """The text inside an element."""
    return "".join(element.itertext())


class Table(NamedTuple):
    """The head of a table, and its cells by the name in the first column."""

    head: list[str]
    rows: dict[str, list[str]]

    def cell(self, row: str, column: str) -> str:
        return self.rows[row][self.head[1:].index(column)]


def table(page: xml.Element, label: str) -> Table:
    """The table of a label."""
    (found,) = [one for one in page.iter("table") if one.get("aria-label") == label]
    head = [words(cell) for cell in found.iterfind("thead/tr/th")]
    rows = [[words(cell) for cell in row] for row in found.iterfind("tbody/tr")]
    assert len({row[0] for row in rows}) == len(rows), "two rows have one name"
    return Table(head, {name: cells for name, *cells in rows})


def figures(page: xml.Element) -> dict[str, tuple[str, str]]:
    """(alternative text, caption) of every picture of a page by its name, as `pictures` gives it."""
    found = [(one.find("svg"), one.find("figcaption")) for one in page.iter("figure")]
    return {svg.get("data-name"): (svg.get("aria-label"), words(caption)) for svg, caption in found}


# ---------------------------------------------------------------- columns of plain text, and tables in Markdown


def columns(line: str) -> list[str]:
    """The cells of a line of a table in plain text, two blanks apart."""
    return re.split(r" {2,}", line.strip())


def markdown(text: str, start: str) -> list[list[str]]:
    """The rows, below its head, of the table in Markdown that has a head beginning so."""
    rows = text[text.index(start) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
