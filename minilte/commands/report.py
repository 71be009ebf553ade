"""Write a page on one run, or on several side by side: python -m minilte.report RUN… [--out report.html]."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minilte.comm.solo import Solo
from minilte.commands import shared as command
from minilte.commands.shared import say
from minilte.core.errors import BadInput
from minilte.settings.flags import parse, parser
from minilte.settings.knob import check_fields, knob


@dataclass(frozen=True)
class Options:
    """Where the page goes."""

    out: str = knob("report.html", "the page, a new file or a report to write anew")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        check_fields(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 for bad input."""
    return command.main(report, flags, argv, Solo())


def flags():
    """The parser of this command's flags."""
    made = parser("python -m minilte.report", __doc__, Options)
    made.usage = "%(prog)s RUN... [options]"
    made.add_argument("runs", metavar="RUN", nargs="+", help="folder of a run, finished or not")
    return made


def report(argv: Sequence[str], _) -> int:
    """Write the page that was asked for; returns the exit code."""
    from minilte.show.page import write

    values = parse(flags(), argv)
    runs = values.pop("runs")
    options = Options(**values)
    if not options.out:
        raise BadInput("--out: expected a path, got nothing; name a file")
    write([Path(run) for run in runs], Path(options.out))
    say(f"report of {', '.join(runs)} in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
