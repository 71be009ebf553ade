"""Measure minilte against its peers and its floor on this machine: python -m minilte.bench."""

from pathlib import Path

from minilte.commands.shared import JSON, Command
from minilte.commands.streams import say, write
from minilte.settings.knob import knob, of_knobs


@of_knobs
class Options:
    """How often, and how the outcome is written."""

    runs: int = knob(7, "pairs of measurements for each figure", least=1, most=1000)
    only: str = knob("", "figures whose name contains this")
    scale: str = knob("", "measure how cost grows, too, and draw it as scale.svg and scale.png in this folder")
    json: bool = JSON


def bench(options: Options, *_) -> int:
    """Measure the figures that were asked for. A target that is missed is reported, not an error."""
    from minilte.bench.figures import FIGURES, LARGE
    from minilte.bench.profile import profile
    from minilte.bench.scale import lines
    from minilte.run.machine import fingerprint
    from minilte.show.scale import picture

    rows = []
    for figure in FIGURES:
        if options.only in figure.name:
            rows.append(measured(figure, options.runs))
            if not options.json:
                say(line(rows[-1]))
    shares = profile(LARGE) if not options.only else []
    grown = growth(options.runs) if options.scale else None
    whole = {"machine": fingerprint(1, "Solo"), "figures": rows, "profile": shares, "scale": grown}
    spent = [f"  {name:32}{100 * share:5.1f} %" for name, share in shares[:12]]
    title = [f"\nwhere a step goes ({LARGE}, one thread)"] if spent else []
    write(whole, [*title, *spent, *(lines(grown) if grown else [])], options.json)
    if grown:  # last: what goes wrong with a picture costs no numbers
        picture(Path(options.scale), grown)
    return 0


def growth(runs: int) -> dict:
    """Measure how cost grows."""
    from minilte.bench import scale

    points, on = scale.measure(runs), scale.processes()
    return scale.report(points, *scale.fit(points), on)


def measured(figure, runs: int) -> dict:
    """A figure as plain values; `ratio` is None where a peer is not installed."""
    try:
        ratio = figure.measure(runs)._asdict()
    except ModuleNotFoundError as missing:
        return {"name": figure.name, "ratio": None, "target": target(figure), "missing": missing.name}
    met = None
    if figure.most is not None or figure.least is not None:
        met = ratio["median"] <= figure.most if figure.most is not None else ratio["median"] >= figure.least
    return {"name": figure.name, "ratio": ratio, "target": target(figure), "met": met}


def target(figure) -> str:
    """The target in words."""
    return f"<= {figure.most:.3g}" if figure.most is not None else f">= {figure.least:.3g}" if figure.least else ""


def line(row: dict) -> str:
    """A row of the table."""
    if row["ratio"] is None:
        return f"{row['name']:80} needs {row['missing']}: pip install 'minilte[bench]'"
    ratio = row["ratio"]
    verdict = {True: "met", False: "MISSED", None: ""}[row["met"]]
    numbers = f"{ratio['median']:8.3g}  [{ratio['least']:.3g}, {ratio['most']:.3g}] of {ratio['count']}"
    return f"{row['name']:80}{numbers}  {row['target']:10}{verdict}"


main = Command("python -m minilte.bench", __doc__, Options, bench)
