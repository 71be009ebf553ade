"""Command-line flags and TOML files for a flat dataclass, strict: nothing abbreviated, repeated, or guessed."""

import argparse
import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence

from minilte.core.errors import BadInput
from minilte.disk.files import TEXT, content, reason, shown
from minilte.settings.knob import flag_name, item_type


def parser(prog: str, summary: str, *classes) -> argparse.ArgumentParser:
    """A parser with one flag for each field of the dataclasses. What is not given is absent from its result."""
    made = argparse.ArgumentParser(
        prog,
        usage="%(prog)s [options]",
        description=summary,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=110),
    )
    made.error = refuse
    made._negative_number_matcher = re.compile(r"-\.?\d")  # or `--lr -1e-3` would be told that -1e-3 is an option
    for each in classes:
        for knob in dataclasses.fields(each):
            add_flag(made, knob)
    return made


def refuse(message: str):
    """argparse's complaint as the library's own error."""
    raise BadInput(shown(message.removeprefix("argument ")))


def add_flag(made: argparse.ArgumentParser, knob: dataclasses.Field) -> None:
    """--name VALUE, or --name / --no-name for a bool, with the default in its help."""
    kind, many = item_type(knob.type)
    shown = ",".join(map(str, knob.default)) if many else knob.default
    words = knob.metadata["help"] + ("" if shown == "" or shown is False else f" [{shown}]")
    if choices := knob.metadata.get("choices"):
        words += f" ({', '.join(choices)})"
    if kind is bool:
        made.add_argument(f"--{flag_name(knob.name)}", action=argparse.BooleanOptionalAction, help=words)
        return
    made.add_argument(
        f"--{flag_name(knob.name)}",
        metavar=kind.__name__.upper() + ",..." * many,
        help=words,
        type=lambda text: [read(one, kind) for one in text.split(",") if text] if many else read(text, kind),
    )


NUMBER = {int: r"[+-]?\d{1,999}", float: r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"}
WORDS = {int: "a whole number", float: "a number"}


def read(text: str, kind: type):
    """The text as `kind`; `1_0`, `nan` and `8 ` are no numbers."""
    if kind is str:
        return text
    if not re.fullmatch(NUMBER[kind], text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected {WORDS[kind]}, got {text!r:.60}")
    return kind(text)


def parse(made: argparse.ArgumentParser, argv: Sequence[str]) -> dict:
    """The values given on the command line, by field name. Raises BadInput."""
    known = {option for action in made._actions for option in action.option_strings}
    seen: set[str] = set()
    for word in argv:
        if not word.startswith("--"):
            continue
        name = word.split("=")[0]
        if name not in known:
            raise BadInput(f"{shown(name)}: unknown option{nearest(name, known)}; --help lists all")
        if (bare := name.replace("--no-", "--") if name.replace("--no-", "--") in known else name) in seen:
            raise BadInput(f"{bare}: given twice; give it once")
        seen.add(bare)
    return vars(made.parse_args(list(argv)))


def nearest(name: str, known: Iterable[str]) -> str:
    """ ", did you mean …?" when something known looks like it, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]}?" if close else ""


PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
# a.b.c and so on; over a name of 500,000 parts tomllib would think for hours
DEEP = re.compile(rf"(?<![\w-]){PART}(?:[ \t]*\.[ \t]*{PART}){{31}}")


def read_toml(path: str, cls) -> dict:
    """A TOML file as values of `cls`, by field name (hyphens or underscores). Raises BadInput naming file and key."""
    try:
        text = content(path, TEXT).decode()
        if DEEP.search(text):
            raise ValueError("a name of 32 parts")
        table = tomllib.loads(text)
    except BadInput as trouble:
        raise BadInput(f"config {trouble}; give a readable TOML file") from None
    except (ValueError, RecursionError) as trouble:  # bad UTF-8, bad TOML, a number of 5,000 digits, 5,000 brackets
        raise BadInput(f"config {shown(path)}: not a TOML file ({reason(trouble)})") from None
    known, values = {knob.name for knob in dataclasses.fields(cls)}, {}
    for key, value in table.items():
        if (name := key.replace("-", "_")) not in known:
            raise BadInput(f"config {shown(path)}: unknown key {key!r:.60}{nearest(name, known)}")
        if name in values:
            raise BadInput(f"config {shown(path)}: {key!r} is given twice, with a hyphen and with an underscore")
        values[name] = value
    return values
