"""Try the laws of the method on random cases: python -m minilte.verify."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from minilte.comm.solo import Solo
from minilte.commands import shared as command
from minilte.commands.shared import say
from minilte.core.errors import BadInput
from minilte.settings.config import nearest
from minilte.settings.flags import parse, parser
from minilte.settings.knob import check_fields, knob


@dataclass(frozen=True)
class Options:
    """What is tried, how often, and how the outcome is written."""

    law: tuple[str, ...] = knob((), "names of laws, as L1,L3; default all")
    examples: int = knob(20, "random cases for each law", least=1)
    processes: int = knob(0, "also try law L20 on a real MPI job of so many processes", least=0)
    seed: int = knob(0, "of the search", least=0)
    json: bool = knob(False, "write JSON on stdout and nothing else")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        check_fields(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 if all laws hold, 1 if any falls, 2 for bad input."""
    return command.main(verify, flags, argv, Solo())


def flags():
    """The parser of this command's flags, and of the names of laws."""
    made = parser("python -m minilte.verify", __doc__, Options)
    made.usage = "%(prog)s [options] [L1 …]"
    made.add_argument("laws", nargs="*", metavar="L1", help="names of laws, as with --law; default all")
    return made


def verify(argv: Sequence[str], _) -> int:
    """Try the laws that were asked for; returns the exit code."""
    values = parse(flags(), argv)
    named = values.pop("laws", None) or ()
    options = Options(**values | ({"law": (*values.get("law", ()), *named)} if named else {}))
    verdicts = list(verdicts_of(options))
    if options.json:
        say(json.dumps({"laws": [as_json(verdict) for verdict in verdicts]}, indent=2))
    else:
        for line in report(verdicts):
            say(line)
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def verdicts_of(options: Options):
    """One verdict a law, with a progress bar on a terminal."""
    from tqdm import tqdm

    from minilte.laws import LAWS, try_law
    from minilte.laws.pool import Pool, mpi_law
    from minilte.run.machine import one_blas_thread

    chosen = [named(name, LAWS) for name in options.law] or list(LAWS.values())
    pool = Pool(options.processes) if options.processes else None
    try:
        chosen += [mpi_law(pool)] if pool else []
        with one_blas_thread(), tqdm(chosen, unit="law", disable=not sys.stderr.isatty() or options.json) as bar:
            for law in bar:
                bar.set_postfix_str(law.name)
                yield try_law(law, options.examples, options.seed)
    finally:
        if pool:
            pool.close()


def named(name: str, laws: dict):
    """The law of a name, in capitals or not. Raises BadInput."""
    found = {known.lower(): law for known, law in laws.items()}.get(name.lower())
    if found is None:
        raise BadInput(f"law: no law is called {name!r:.60}{nearest(name, laws)}; there are {', '.join(laws)}")
    return found


def as_json(verdict) -> dict:
    """A verdict as plain values; an error that is not finite becomes null."""
    fields = verdict._asdict()
    return fields | {"worst_error": fields["worst_error"] if fields["worst_error"] < float("inf") else None}


def report(verdicts):
    """The table, and for every law that fell the smallest counterexample as code to paste."""
    yield f"{'law':16}{'tried':>6}  {'worst error':>11}  {'tolerance':>9}  verdict  statement"
    for v in verdicts:
        word = "holds" if v.holds else "FALLS"
        yield f"{v.name:16}{v.examples:6}  {v.worst_error:11.1e}  {v.tolerance:9.0e}  {word:7}  {v.statement}"
    for v in verdicts:
        if not v.holds:
            trouble = f": {v.trouble}" if v.trouble else ""
            yield f"\n{v.name} falls{trouble}; its smallest counterexample:\n{v.counterexample}"
    held = sum(v.holds for v in verdicts)
    yield f"{held} of {len(verdicts)} laws hold"


if __name__ == "__main__":
    sys.exit(main())
