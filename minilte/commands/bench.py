"""Measure minilte against its peers and its floor on this machine: python -m minilte.bench."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minilte.comm.solo import Solo
from minilte.commands import shared as command
from minilte.commands.shared import say
from minilte.settings.flags import parse, parser
from minilte.settings.knob import check_fields, knob


@dataclass(frozen=True)
class Options:
    """How often, and how the outcome is written."""

    runs: int = knob(7, "pairs of measurements for each figure", least=1, most=1000)
    only: str = knob("", "figures whose name contains this")
    scale: str = knob("", "measure how cost grows, too, and draw it as scale.svg and scale.png in this folder")
    json: bool = knob(False, "write JSON on stdout and nothing else")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        check_fields(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. A target that is missed is reported, not an error."""
    return command.main(bench, flags, argv, Solo())


def flags():
    """The parser of this command's flags."""
    return parser("python -m minilte.bench", __doc__, Options)


def bench(argv: Sequence[str], _) -> int:
    """Measure the figures that were asked for."""
    from minilte.bench.figures import FIGURES, LARGE
    from minilte.bench.profile import profile
    from minilte.bench.scale import lines
    from minilte.run.machine import fingerprint

    options = Options(**parse(flags(), argv))
    rows = []
    for figure in (figure for figure in FIGURES if options.only in figure.name):
        rows.append(measured(figure, options.runs))
        if not options.json:
            say(line(rows[-1]))
    shares = profile(LARGE) if not options.only else []
    grown = growth(options) if options.scale else None
    if options.json:
        whole = {"machine": fingerprint(1, "Solo"), "figures": rows, "profile": shares, "scale": grown}
        say(json.dumps(whole, indent=2))
        return 0
    if shares:
        say(f"\nwhere a step goes ({LARGE}, one thread)")
    for name, share in shares[:12]:
        say(f"  {name:32}{100 * share:5.1f} %")
    if grown:
        say("\n".join(lines(grown)))
    return 0


def growth(options: Options) -> dict:
    """Measure and draw how cost grows."""
    from minilte.bench import scale
    from minilte.show.scale import picture

    points, on = scale.measure(options.runs), scale.processes()
    grown = scale.report(points, *scale.fit(points), on)
    picture(Path(options.scale), grown)
    return grown


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


if __name__ == "__main__":
    sys.exit(main())
