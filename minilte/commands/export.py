"""Write a finished run for other libraries: python -m minilte.export RUN --to npz|safetensors|peft --out PATH."""

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

FORMATS = ("npz", "safetensors", "peft")


@dataclass(frozen=True)
class Options:
    """In which format, and where to."""

    to: str = knob("safetensors", "format; peft is a folder, and for runs without resets", choices=FORMATS)
    out: str = knob("", "new file, or new folder for peft")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        check_fields(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 for bad input."""
    return command.main(export, flags, argv, Solo())


def flags():
    """The parser of this command's flags."""
    made = parser("python -m minilte.export", __doc__, Options)
    made.usage = "%(prog)s RUN [options]"
    made.add_argument("run", metavar="RUN", help="folder of a finished run")
    return made


def export(argv: Sequence[str], _) -> int:
    """Write the file or folder that was asked for; returns the exit code."""
    from minilte.job.export import export as write

    values = parse(flags(), argv)
    run = values.pop("run")
    options = Options(**values)
    if not options.out:
        raise BadInput("--out: expected a path, got nothing; name a new file, or a new folder for peft")
    say(f"{options.to} of {run} in {write(Path(run), options.to, Path(options.out))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
