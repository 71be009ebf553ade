"""The tables of docs/ladder.md and their pictures, from docs/measured: python -m minilte.commands.ladder_page docs/ladder.md.

Between <!-- ladder NAME --> and <!-- end --> stands the table of docs/measured/NAME.json, and what must be known of it; its
picture is docs/_static/NAME.svg.
"""

import json
import re
import sys
from pathlib import Path

from minilte.show import ladder as drawn
from minilte.show import standings

PLACE = re.compile(r"(<!-- ladder (\w+) -->\n).*?(<!-- end -->)", re.S)


def page(path: Path) -> str:
    """The page with its tables as they should be."""
    return PLACE.sub(
        lambda found: found[1] + tables(measured(path, found[2])) + found[3], path.read_text(encoding="utf-8")
    )


def measured(path: Path, name: str) -> dict:
    """A ladder that is kept beside the page."""
    return json.loads((path.parent / "measured" / f"{name}.json").read_text(encoding="utf-8"))


def names(path: Path) -> list[str]:
    """The ladders of the page."""
    return [found[2] for found in PLACE.finditer(path.read_text(encoding="utf-8"))]


def tables(ladder: dict) -> str:
    """A ladder in Markdown: how it was measured, the rows, remarks, samples-to-match."""
    lines = [standings.conditions(ladder).replace("*", "\\*"), ""]
    lines += standings.markdown(standings.head(ladder), standings.cells(ladder))
    if remarks := list(standings.remarks(ladder)):
        lines += ["", *(f"- {words}" for words in remarks)]
    head, rows = standings.matches(ladder)
    if rows:
        lines += ["", *standings.markdown(head, rows)]
    return "\n".join(["", *lines, "", ""])


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for one in names(place):
        drawn.picture(measured(place, one), place.parent / "_static", one)
    place.write_text(page(place), encoding="utf-8")
