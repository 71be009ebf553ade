"""Write a page on one run, or on several side by side: python -m minilte.report RUN… [--out report.html]."""

from pathlib import Path

from minilte.commands.shared import Command
from minilte.commands.streams import say
from minilte.settings.knob import knob, of_knobs


@of_knobs
class Options:
    """Which runs, and where the page goes."""

    runs: tuple[str, ...] = knob((), "folder of a run, finished or not", word="RUN", count="+")
    out: str = knob("report.html", "the page, a new file or a report to write anew")


def report(options: Options, *_) -> int:
    """Write the page that was asked for; returns the exit code."""
    from minilte.show.page import write

    write([Path(run) for run in options.runs], Path(options.out))
    say(f"report of {', '.join(options.runs)} in {options.out}")
    return 0


main = Command("python -m minilte.report", __doc__, Options, report)
