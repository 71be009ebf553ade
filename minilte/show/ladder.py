"""A ladder as a page: its table, its curves over samples, bytes and seconds, and the frontier."""

from collections.abc import Iterator
from pathlib import Path

import minilte
from minilte.cost.units import human
from minilte.disk import folder
from minilte.disk.outputs import refuse_place
from minilte.show import drawing, standings
from minilte.show.figures import of_run
from minilte.show.markup import Html, element, figure, grid, listing, table
from minilte.show.page import SIGN, whole_page

PAGE, PICTURE = "ladder.html", "ladder"
OVER = {"samples": "samples", "bytes": "bytes sent", "seconds": "seconds on the link"}
PLAIN = lambda value, _: f"{value:g}"  # noqa: E731
AS_BYTES = lambda count, _: human(count)  # noqa: E731
PRICES = {"bytes": "bytes sent", "memory": "bytes that a worker holds"}


def write(ladder: dict, place: Path) -> None:
    """The page as ladder.html, and the pictures as ladder.svg and .png, in a folder. Raises BadInput, DiskTrouble."""
    refuse(place)
    folder.write(place / PAGE, whole_page("A ladder of methods", list(body(ladder)), footer()).encode())
    picture(ladder, place)


def refuse(place: Path) -> None:
    """Raises BadInput for a folder in which something else has the name of the page, or of the picture."""
    refuse_place(place / PAGE, "report", SIGN.encode())
    drawing.files_of(place, PICTURE)


def body(ladder: dict) -> Iterator[Html]:
    """The page between its title and its foot."""
    yield element("p", standings.conditions(ladder), class_="lead")
    yield table(standings.head(ladder), standings.cells(ladder), "The ladder", wide=True)
    if remarks := list(standings.remarks(ladder)):
        yield listing(remarks)
    head, rows = standings.matches(ladder)
    if rows:
        yield element("h2", "Samples to match")
        yield table(head, rows, "Samples to match")
    yield element("h2", "Curves")
    yield grid([curves(ladder, score, over) for score in standings.known(ladder) for over in OVER])
    yield element("h2", "The frontier")
    yield grid([frontier(ladder, price) for price in PRICES])
    yield element("h2", "What was tried")
    yield table(
        ["entry", "points of the grid, with the score that was tuned"],
        [[row["name"], standings.grid(row)] for row in ladder["rows"] if row["grid"]],
        "The grids",
        numbers=False,
    )


def good(ladder: dict) -> list[tuple[int, dict]]:
    """(place, row) of those that have scores."""
    return [(number, row) for number, row in enumerate(ladder["rows"]) if row["scores"]]


def curves(ladder: dict, score: str, over: str) -> Html:
    """A score over samples, bytes or seconds, a line for each row."""
    svg = drawing.inline(
        f"{score}-{over}".replace("_", "-"), lambda axes: draw_curves(axes, ladder, score, over, True)
    )
    ends = ", ".join(
        f"{standings.letter(n)} {standings.factor(score) * row['scores'][score]['mean']:.4g}"
        for n, row in good(ladder)
    )
    label = f"{standings.SCORES[score]} over {OVER[over]}; at the end {ends}"
    return figure(
        svg,
        label,
        f"{standings.SCORES[score][0].upper()}{standings.SCORES[score][1:]} over {OVER[over]}; means over seeds.",
    )


def along(row: dict, over: str, mbit: float) -> list[float]:
    """Where the evaluations of a row stand on an axis."""
    if over == "seconds":
        return [standings.seconds(point["link_bytes"], mbit) for point in row["curve"]]
    return [point[over] for point in row["curve"]]


def draw_curves(axes, ladder: dict, score: str, over: str, toned: bool = False) -> None:
    """A line for each row, with its letter at its end; the start is left out, where nothing was learnt yet."""
    for number, row in good(ladder):
        x, y = along(row, over, ladder["rules"]["mbit"])[1:], [point[score] for point in row["curve"]][1:]
        y = [standings.factor(score) * value for value in y]
        tone, dash = of_run(number)
        colour = drawing.tone(tone) if toned else f"C{number % 10}"
        name = standings.letter(number)
        axes.plot(x, y, color=colour, ls=dash, lw=1.3, label=name)
        axes.annotate(
            name, (x[-1], y[-1]), xytext=(3, 0), textcoords="offset points", color=colour, fontsize=8, va="center"
        )
    if over != "samples":
        logarithmic(axes, PLAIN if over == "seconds" else AS_BYTES)
    if not score.endswith("accuracy"):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in "25" else "")
    axes.set(xlabel=OVER[over], ylabel=standings.SCORES[score])


def logarithmic(axes, form) -> None:
    """A logarithmic axis of x with few words on it: powers of ten, and 2 and 5 times where it spans less than two.

    Where something costs nothing, 0 stands to the left of the least that something costs.
    """
    x = [float(value) for line in axes.lines for value in line.get_xdata()]
    least = min((value for value in x if value > 0), default=0.0)
    if not least:
        return
    if min(x) > 0:
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=least, linscale=0.3)
    low, high = (max(least, end) for end in axes.get_xlim()) if min(x) <= 0 else axes.get_xlim()
    words = lambda value, at: "" if 0 < value < 0.99 * low else form(value, at)  # noqa: E731  beside the 0 is no room
    axes.xaxis.set_major_formatter(words)
    axes.xaxis.set_minor_formatter(words if high < 12 * low else "")
    axes.xaxis.get_minor_locator().set_params(subs=(2, 5))


def frontier(ladder: dict, price: str) -> Html:
    """Every row's test loss beside what it costs; those on the frontier are filled."""
    svg = drawing.inline(f"frontier-{price}", lambda axes: draw_frontier(axes, ladder, price, True))
    words = ", ".join(f"{standings.letter(n)} {row[price]:.3g}" for n, row in good(ladder))
    return figure(
        svg,
        f"Test loss beside {PRICES[price]}: {words}",
        f"Test loss beside {PRICES[price]}; filled on the frontier.",
    )


def draw_frontier(axes, ladder: dict, price: str, toned: bool = False) -> None:
    """A point for each row, with its letter."""
    for number, row in good(ladder):
        x, y, tone = row[price], row["scores"]["test_loss"]["mean"], of_run(number)[0]
        colour = drawing.tone(tone) if toned else f"C{number % 10}"
        face = colour if row["frontier"] else "none"
        axes.plot([x], [y], "o", color=colour, markerfacecolor=face, ms=5, label=standings.letter(number))
        axes.annotate(
            standings.letter(number), (x, y), xytext=(5, 0), textcoords="offset points", fontsize=8, va="center"
        )
    logarithmic(axes, AS_BYTES)
    axes.set(xlabel=PRICES[price], ylabel="test loss")


def picture(ladder: dict, place: Path, name: str = PICTURE) -> None:
    """Test loss over samples, bytes and seconds beside each other, and the frontier of bytes, as svg and png."""
    if not good(ladder):
        return

    def paint(panels) -> None:
        for axes, over in zip(panels.flat, OVER):
            draw_curves(axes, ladder, "test_loss", over)
        draw_frontier(panels.flat[3], ladder, "bytes")

    drawing.draw(place, name, paint, size=(11.0, 7.6), panels=(2, 2), of=folder.seal(ladder))


def footer() -> Html:
    """Where the page comes from."""
    return element("footer", f"Written by minilte {minilte.__version__}: python -m minilte.compare.")
