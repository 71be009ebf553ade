"""Command-line flags for the parts of a run and for dataclasses of knobs: nothing abbreviated, repeated, or guessed."""

import argparse
import dataclasses
import re
from collections.abc import Sequence

from minilte.core.errors import BadInput
from minilte.disk.files import shown
from minilte.settings.config import nearest
from minilte.settings.knob import flag_name, is_nothing, item_type, nothing
from minilte.settings.part import every_part, knobs
from minilte.settings.places import PLACES


def parser(prog: str, summary: str, *classes, settings: bool = False) -> argparse.ArgumentParser:
    """A parser with one flag for each knob of the classes; with `settings`, first for those of all parts of a run.

    What is not given is absent from its result.
    """
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
    group = made
    if settings:
        add_settings(made)
        group = made.add_argument_group("where it lives and how it speaks")
    for cls in classes:
        for knob in dataclasses.fields(cls):
            add_word(made, knob) if "word" in knob.metadata else add_flag(group, knob)
    return made


def add_settings(made: argparse.ArgumentParser) -> None:
    """A group of flags for each place: what chooses its part, then the knobs of all its parts.

    A knob that parts of two places have stands in the group of the first.
    """
    everywhere = knobs_of([cls for place in PLACES for cls in every_part(place)])
    taken: set[str] = set()
    for place, spec in PLACES.items():
        group = made.add_argument_group(spec.title)
        parts = every_part(place)
        if spec.flag:
            names = ", ".join(name for name in spec.names if name != spec.other)
            group.add_argument(
                f"--{flag_name(spec.flag)}", metavar="NAME", help=f"{spec.help} [{spec.default}] ({names})"
            )
        for name, (knob, _) in knobs_of(parts).items():
            having = everywhere[name][1]
            if name not in taken:
                add_flag(group, knob, "" if len(having) == len(parts) else f"; of {', '.join(having)}")
            taken.add(name)


def knobs_of(parts: Sequence[type]) -> dict[str, tuple[dataclasses.Field, list[str]]]:
    """name -> (knob, names of the parts that have it), of all parts of a place."""
    found: dict[str, tuple] = {}
    for cls in parts:
        for name, knob in knobs(cls).items():
            having = found.setdefault(name, (knob, []))[1]
            having += [cls.name] if cls.name not in having else []  # a rule may stand in two places
    return found


def refuse(message: str):
    """argparse's complaint as the library's own error."""
    raise BadInput(shown(message.removeprefix("argument ")))


USAGE = {None: "%(prog)s {} [options]", "+": "%(prog)s {}... [options]", "*": "%(prog)s [options] [{} …]"}


def add_word(made, knob: dataclasses.Field) -> None:
    """RUN, an argument without a flag."""
    word, count = knob.metadata["word"], knob.metadata.get("count")
    made.usage = USAGE[count].format(word)
    made.add_argument(knob.name, metavar=word, nargs=count, help=knob.metadata["help"])


def add_flag(group, knob: dataclasses.Field, owners: str = "") -> None:
    """--name VALUE, or --name / --no-name for a bool, with the default in its help."""
    kind, many = item_type(knob.type)
    shown = ",".join(map(str, knob.default)) if many else knob.default
    words = knob.metadata["help"] + owners + ("" if shown == "" or shown is False else f" [{shown}]")
    if choices := knob.metadata.get("choices"):
        words += f" ({', '.join(choices)})"
    flag = f"--{flag_name(knob.name)}"
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=words)
        return
    group.add_argument(
        flag,
        metavar=kind.__name__.upper() + ",..." * many,
        help=words,
        type=lambda text: [read(item, kind) for item in text.split(",") if text] if many else read(text, kind),
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
    given = vars(made.parse_args(list(argv)))
    for action in made._actions:
        if is_nothing(given.get(action.dest)) and (action.option_strings or given[action.dest] != []):
            raise BadInput(nothing(next(iter(action.option_strings), action.metavar)))
    return given
