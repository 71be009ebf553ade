"""Measure the paper's claims on this machine: python -m minilte.experiments [C1 …]."""

import math
from collections.abc import Iterator
from pathlib import Path

from minilte.commands.shared import JSON, Command, refuse_beside
from minilte.commands.streams import bar, say, write
from minilte.core.errors import BadInput
from minilte.disk.outputs import make_folder
from minilte.settings.config import nearest
from minilte.settings.knob import knob, of_knobs


@of_knobs
class Options:
    """Which claims are measured, how often, and how the outcome is written."""

    claims: tuple[str, ...] = knob((), "names of claims; default all", word="C1", count="*")
    seeds: int = knob(5, "seeds 0, 1, … of each claim", least=2, most=1000)
    picture: str = knob("", "draw the method in one picture as method.svg and method.png in this folder, and no more")
    json: bool = JSON


def experiments(options: Options, given: dict, _) -> int:
    """Measure the claims that were asked for. A claim that fails here is a result, not an error."""
    from minilte.experiments import CLAIMS, rows

    names = options.claims or CLAIMS
    for name in names:
        if name not in CLAIMS:
            near = nearest(name, CLAIMS)
            raise BadInput(f"claim: no claim {name!r:.60} is measured{near}; there are {', '.join(CLAIMS)}")
    if options.picture:
        from minilte.experiments import picture
        from minilte.show import plateau

        refuse_beside("picture", given, ("claims", "seeds", "json"), "the picture is of the method, not of claims")
        make_folder(Path(options.picture))  # before the training that it takes
        plateau.picture(Path(options.picture), *picture.curves(), picture.floors())
        return 0
    measured = []
    for claim in bar([CLAIMS[name] for name in dict.fromkeys(names)], "claim", options.json):
        measured += (found := rows(claim, range(options.seeds)))
        if not options.json:
            say("\n".join(table(claim, found)))
    write({"rows": [row._asdict() for row in measured]}, [tally(measured)], options.json)
    return 0


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
    hold, fail, rest = (sum(row.verdict == word for row in found) for word in ("holds", "fails", "undecided"))
    return f"{hold} of {len(found)} predictions hold, {fail} fail, {rest} undecided"


main = Command("python -m minilte.experiments", __doc__, Options, experiments)
