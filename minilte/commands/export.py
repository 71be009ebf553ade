"""Write a finished run for other libraries: python -m minilte.export RUN --to npz|safetensors|peft --out PATH."""

from pathlib import Path

from minilte.commands.shared import Command
from minilte.commands.streams import say
from minilte.core.errors import BadInput
from minilte.settings.knob import knob, of_knobs

FORMATS = ("suffix", "npz", "safetensors", "peft")


@of_knobs
class Options:
    """Which run, in which format, and where to."""

    run: str = knob("", "folder of a finished run", word="RUN")
    to: str = knob(
        "suffix", "format; suffix: that of --out; peft: a folder, for runs without resets", choices=FORMATS
    )
    out: str = knob("", "new file, or new folder for peft")


def export(options: Options, *_) -> int:
    """Write the file or folder that was asked for; returns the exit code."""
    from minilte.job.export import export as write
    from minilte.job.export import format_of

    if not options.out:
        raise BadInput("--out: expected a path, got nothing; name a new file, or a new folder for peft")
    to = format_of(Path(options.out), options.to)
    say(f"{to} of {options.run} in {write(Path(options.run), to, Path(options.out))}")
    return 0


main = Command("python -m minilte.export", __doc__, Options, export)
