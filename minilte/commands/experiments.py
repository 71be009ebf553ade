"""Measure the paper's claims on this machine: python -m minilte.experiments [C1 …]."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minilte.comm.solo import Solo
from minilte.commands import shared as command
from minilte.commands.shared import say
from minilte.core.errors import BadInput
from minilte.settings.config import nearest
from minilte.settings.flags import parse, parser
from minilte.settings.knob import check_fields, knob


@dataclass(frozen=True)
class Options:
    """How often a claim is measured, and how the outcome is written."""

    seeds: int = knob(5, "seeds 0, 1, … of each claim", least=2, most=1000)
    picture: str = knob("", "draw the method in one picture as method.svg and method.png in this folder, and no more")
    json: bool = knob(False, "write JSON on stdout and nothing else")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        check_fields(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. A claim that fails here is a result, not an error."""
    return command.main(experiments, flags, argv, Solo())


def flags():
    """The parser of this command's flags, and of the names of claims."""
    made = parser("python -m minilte.experiments", __doc__, Options)
    made.usage = "%(prog)s [options] [C1 …]"
    made.add_argument("claims", nargs="*", metavar="C1", help="names of claims; default all")
    return made


def experiments(argv: Sequence[str], _) -> int:
    """Measure the claims that were asked for."""
    from minilte.experiments import CLAIMS, rows

    values = parse(flags(), argv)
    names, options = values.pop("claims", None) or list(CLAIMS), Options(**values)
    for name in names:
        if name not in CLAIMS:
            there = f"there are {', '.join(CLAIMS)}"
            raise BadInput(f"claim: no claim {name!r:.60} is measured{nearest(name, CLAIMS)}; {there}")
    if options.picture:
        from minilte.experiments import picture
        from minilte.show import plateau

        plateau.picture(Path(options.picture), *picture.curves(), picture.floors())
        return 0
    measured = []
    for claim in bar([CLAIMS[name] for name in dict.fromkeys(names)], options):
        measured += (found := rows(claim, range(options.seeds)))
        if not options.json:
            say("\n".join(table(claim, found)))
    say(json.dumps({"rows": [plain(row) for row in measured]}, indent=2) if options.json else tally(measured))
    return 0


def bar(claims: list, options: Options):
    """The claims, with a progress bar on a terminal."""
    from tqdm import tqdm

    return tqdm(claims, unit="claim", disable=not sys.stderr.isatty() or options.json, leave=False)


def table(claim, found) -> Iterator[str]:
    """A claim and its rows."""
    yield f"{claim.name}  {claim.says} ({claim.where})"
    yield f"  {'':5}{'measured':84}{'by':9}{'predicted':>16}{'mean':>10}  {'95 % interval':24}verdict"
    for row in found:
        interval = f"[{row.low:.4g}, {row.high:.4g}]"
        where = f"{row.source:9}{predicted(row):>16}{row.mean:10.4g}"
        yield f"  {row.name:5}{row.says:84}{where}  {interval:24}{row.verdict}"
    yield ""


def predicted(row) -> str:
    """The prediction in a few signs: "1", "0.875 … 0.885", "<= 0.01"."""
    if (only := f"{row.least:.4g}") == f"{row.most:.4g}":
        return only
    if math.isinf(row.least):
        return f"<= {row.most:.4g}"
    return f">= {row.least:.4g}" if math.isinf(row.most) else f"{row.least:.4g} … {row.most:.4g}"


def tally(found) -> str:
    """How many rows ended how."""
    counts = {verdict: sum(row.verdict == verdict for row in found) for verdict in ("holds", "fails", "undecided")}
    hold, fail, rest = counts.values()
    return f"{hold} of {len(found)} predictions hold, {fail} fail, {rest} undecided"


def plain(row) -> dict:
    """A row as plain values; a side without a bound is null."""
    return {
        name: None if isinstance(value, float) and math.isinf(value) else value
        for name, value in row._asdict().items()
    }


if __name__ == "__main__":
    sys.exit(main())
