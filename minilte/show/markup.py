"""HTML from Python, in which every text is escaped: only what these functions made is markup."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Html(NamedTuple):
    """Markup that is ready to stand in a page."""

    text: str


def text_of(child) -> str:
    """A child as it stands in a page: markup as it is, a sequence item by item, all else as escaped text."""
    if isinstance(child, Html):
        return child.text
    if isinstance(child, (list, tuple)):
        return "".join(map(text_of, child))
    return "" if child is None else escape(str(child).encode("utf-8", "backslashreplace").decode())


def element(tag: str, *children, **attributes) -> Html:
    """<tag attributes>children</tag>; an attribute that is None is left out, `class_` is class, `aria_label` aria-label."""
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = "".join(f' {name}="{text_of(str(value))}"' for name, value in given.items())
    return Html(f"<{tag}{opening}>{''.join(map(text_of, children))}</{tag}>")


NUMBER = re.compile(r"[−-]?[\d.,]+(e[+−-]?\d+)?( (%|B|[kMGTP]B|s))?( of [\d,]+)?|none|nothing|—")


def table(head: Sequence, rows: Sequence[Sequence], label: str, wide: bool = False, numbers: bool = True) -> Html:
    """A table whose first column names its rows; columns of numbers are right-aligned. A wide table scrolls alone."""
    is_number = lambda cell: isinstance(cell, str) and NUMBER.fullmatch(cell)  # noqa: E731
    classes = ["number" if numbers and all(map(is_number, column)) else None for column in zip(*rows)]
    names = [element("th", name, scope="col", class_=kind) for name, kind in zip(head, classes)]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [element("td", cell, class_=kind) for cell, kind in zip(row[1:], classes[1:])],
        )
        for row in rows
    ]
    top = element("thead", element("tr", names)) if any(head) else None
    whole = element("table", top, element("tbody", body), aria_label=label)
    return element("div", whole, class_="scroll", role="region", aria_label=label, tabindex=0) if wide else whole


def figure(svg: str, label: str, *caption) -> Html:
    """A picture with its alternative text and its caption."""
    image = Html(svg.replace("<svg ", f'<svg role="img" aria-label="{text_of(label)}" ', 1))
    return element("figure", image, element("figcaption", *caption))


def listing(items: Iterable) -> Html:
    """A list of items."""
    return element("ul", [element("li", item) for item in items])


def grid(figures: Sequence[Html]) -> Html:
    """Figures beside each other, as many as fit."""
    return element("div", figures, class_="figures")
