"""The reference part of docs/commands.md, from the flags themselves: python -m minilte.commands.reference docs/commands.md."""

import argparse
import dataclasses
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from minilte.commands import COMMANDS
from minilte.commands.shared import Command, Common
from minilte.core import errors
from minilte.settings.flags import knobs_of
from minilte.settings.knob import BOUNDS, MOST, flag_name
from minilte.settings.part import as_flags, bringers, every_part
from minilte.settings.places import PLACES

MARK = "<!-- from here on written by python -m minilte.commands.reference docs/commands.md -->"


def command(name: str) -> Command:
    """What python -m minilte.NAME runs."""
    return importlib.import_module(f"minilte.commands.{name}").main


def reference() -> str:
    """Exit codes, then every command as a section: usage and options."""
    return "\n".join([MARK, "", *exit_codes(), *(line for name in COMMANDS for line in section(name))])


def exit_codes() -> Iterator[str]:
    """The codes of `core.errors`, and those that are no error of the library."""
    known = [error for error in vars(errors).values() if isinstance(error, type) and error.code != 70]
    rows = {0: "Done.", 1: "`verify`: a law falls.", 70: "A bug, or what nobody expected; `--debug` shows where."}
    rows |= {error.code: sentence(error) for error in known}
    rows |= {130: "Stopped by `SIGINT`, saved where there was something to save.", 143: "The same by `SIGTERM`."}
    yield "## Exit codes"
    yield from table(("code", "meaning"), [(f"{code}", words) for code, words in sorted(rows.items())])


def section(name: str) -> Iterator[str]:
    """A command: what it does, how it is called, and its options in tables."""
    this = command(name)
    made = this.flags()
    usage = " ".join(made.format_usage().split()).removeprefix("usage: ")
    summary = escaped(made.description.split(": python -m")[0] + ".")
    yield from ["", f"## {name}", "", summary, "", "```text", usage, "```"]
    actions = {action.dest: action for action in made._actions}
    if this.trains:
        for place in PLACES:
            yield from settings(place, actions)
        yield from ["", "### Where it lives and how it speaks"]
    if this.settings:
        yield from ["", "Beside the options below it has those of `train` for the settings of a run."]
    own = (*dataclasses.fields(this.options), *dataclasses.fields(Common))
    yield from table(("option", "default", "meaning"), [row(actions[knob.name], knob) for knob in own])


def settings(place: str, actions: dict[str, argparse.Action]) -> Iterator[str]:
    """A place of a run's settings: what chooses its part, the parts, and the options that they have."""
    spec, parts = PLACES[place], every_part(place)
    yield from ["", f"### {spec.title[0].upper()}{spec.title[1:]}"]
    if not spec.always:
        yield from ["", f"For `{' or '.join(as_flags(bringers(place)))}`."]
    if spec.flag:
        yield from ["", f"{written(actions[spec.flag])}, by default `{spec.default}`: {escaped(spec.help)}."]
        yield from table((flag_name(spec.flag), ""), [(chosen_by(cls), sentence(cls)) for cls in parts])
    found = knobs_of(parts)
    rows = [row(actions[name], knob) for name, (knob, _) in found.items()]
    if len(parts) == 1:
        yield from table(("option", "default", "meaning"), rows)
    elif rows:
        yield from usual(parts)
        of = ["all" if len(having) == len(parts) else quoted(having) for _, having in found.values()]
        rows = [(option, owners, *rest) for (option, *rest), owners in zip(rows, of)]
        yield from table(("option", "of", "default", "meaning"), rows)


def usual(parts: Sequence[type]) -> Iterator[str]:
    """What parts want otherwise than by the defaults in the tables."""
    for cls in parts:
        if cls.usual:
            wanted = ", ".join(f"`--{flag_name(name)} {value:g}`" for name, value in cls.usual.items())
            yield from ["", f"Unless they are given, {chosen_by(cls)} has {wanted}."]


def chosen_by(cls: type) -> str:
    """The word that chooses a part."""
    return "a path" if cls.name == PLACES[cls.place].other else f"`{cls.name}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield from ["", line(head), "|" + "---|" * len(head), *map(line, rows)]


def line(cells: Sequence[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def row(action: argparse.Action, knob: dataclasses.Field) -> tuple[str, str, str]:
    """An option: how it is written, what it is by default, what it means and may be."""
    words = escaped(knob.metadata["help"]) + (f" ({what})" if (what := values(knob)) else "")
    return written(action), default(knob), words


def written(action: argparse.Action) -> str:
    """--name VALUE, --name for a switch, or RUN for what has no flag."""
    return f"`{' '.join(filter(None, (*action.option_strings[:1], action.metavar)))}`"


def default(knob: dataclasses.Field) -> str:
    """The default as it would be given; nothing where that is empty, no for a switch."""
    if isinstance(knob.default, bool):
        return "yes" if knob.default else "no"
    text = ",".join(map(str, knob.default)) if isinstance(knob.default, tuple) else f"{knob.default}"
    return f"`{text}`" if text else ""


def values(knob: dataclasses.Field) -> str:
    """The choices, or the bounds; a bound beyond use is left out."""
    if choices := knob.metadata.get("choices"):
        return quoted(choices)
    bounds = {words: knob.metadata[name] for name, (words, _) in BOUNDS.items() if name in knob.metadata}
    return ", ".join(f"{words.removeprefix('of ')} {bound:,.12g}" for words, bound in bounds.items() if bound < MOST)


def quoted(words: Iterable[str]) -> str:
    """`a`, `b`, `c`."""
    return ", ".join(f"`{word}`" for word in words)


def sentence(thing) -> str:
    """The first paragraph of a docstring, on one line."""
    return escaped(" ".join(thing.__doc__.split("\n\n")[0].split()))


def escaped(text: str) -> str:
    """Plain words as Markdown shows them."""
    return re.sub(r"[*\[\]<>|$]", r"\\\g<0>", text)


def page(path: Path) -> str:
    """The page with its reference part as it should be."""
    return path.read_text(encoding="utf-8").split(MARK)[0].rstrip() + "\n\n" + reference() + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(Path(sys.argv[1])), encoding="utf-8")
