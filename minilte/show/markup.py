"""HTML from Python, in which every text is escaped: only what these functions made is markup."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Html(NamedTuple):
    """Markup that is ready to stand in a page."""

    text: str


def text_of(child) -> str:
    """A child as it stands in a page: markup as it is, a sequence one after the other, all else as escaped text."""
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
    """A table whose first column names its rows; a column of numbers stands at the right. A wide one scrolls alone."""
    right = [
        numbers and all(isinstance(one, str) and NUMBER.fullmatch(one) for one in column) for column in zip(*rows)
    ]
    look = ["number" if one else None for one in right]
    top = element(
        "thead", element("tr", [element("th", name, scope="col", class_=one) for name, one in zip(head, look)])
    )
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [element("td", one, class_=c) for one, c in zip(row[1:], look[1:])],
        )
        for row in rows
    ]
    whole = element("table", top if any(head) else None, element("tbody", body), aria_label=label)
    return element("div", whole, class_="scroll", role="region", aria_label=label, tabindex=0) if wide else whole


def figure(svg: str, label: str, *caption) -> Html:
    """A picture with the words that stand in for it where it is not seen, and its caption."""
    image = Html(svg.replace("<svg ", f'<svg role="img" aria-label="{text_of(label)}" ', 1))
    return element("figure", image, element("figcaption", *caption))


def listing(items: Iterable) -> Html:
    """A list of items."""
    return element("ul", [element("li", item) for item in items])
