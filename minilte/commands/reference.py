"""The reference part of docs/commands.md, from the flags themselves: python -m minilte.commands.reference docs/commands.md."""

import argparse
import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from minilte.core import errors
from minilte.settings.config import Config
from minilte.settings.knob import MOST

MARK = "<!-- from here on written by python -m minilte.commands.reference docs/commands.md -->"
COMMANDS = ("train", "report", "verify", "experiments", "cost", "export", "bench")  # in the order of the page
GROUPS = {  # the first setting of a group -> its title
    "data": "Data",
    "model": "Network",
    "method": "Method",
    "optimizer": "Optimisation",
    "eval_every": "The run",
    "out": "Where it lives and how it speaks",
}


def module(name: str) -> ModuleType:
    """The module with the body of python -m minilte.NAME."""
    return importlib.import_module(f"minilte.commands.{name}")


def reference() -> str:
    """Exit codes, then every command as a section: usage and options."""
    return "\n".join([MARK, "", *exit_codes(), *(line for name in COMMANDS for line in section(name))])


def exit_codes() -> Iterator[str]:
    """The codes of `core.errors`, and those that are no error of the library."""
    known = [error for error in vars(errors).values() if isinstance(error, type) and error.code != 70]
    rows = {0: "Done.", 1: "`verify`: a law falls.", 70: "A bug, or what nobody expected; `--debug` shows where."}
    rows |= {error.code: escaped(" ".join(error.__doc__.split())) for error in known}
    rows |= {130: "Stopped by `SIGINT`, saved where there was something to save.", 143: "The same by `SIGTERM`."}
    yield from ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    yield from (f"| {code} | {words} |" for code, words in sorted(rows.items()))


def section(name: str) -> Iterator[str]:
    """A command: what it does, how it is called, and its options in tables."""
    command = module(name)
    made = command.flags()
    usage = " ".join(made.format_usage().split()).removeprefix("usage: ")
    summary = escaped(made.description.split(": python -m")[0] + ".")
    yield from ["", f"## {name}", "", summary, "", "```text", usage, "```"]
    knobs = {knob.name: knob for each in (Config, command.Options) for knob in dataclasses.fields(each)}
    grouped = name == "train"
    head = ["", "| option | default | meaning |", "|---|---|---|"]
    yield from [] if grouped else head
    for action in made._actions:
        if action.dest == "help":
            continue
        if grouped and action.dest in GROUPS:
            yield from ["", f"### {GROUPS[action.dest]}", *head]
        yield row(action, knobs.get(action.dest))


def row(action: argparse.Action, knob: dataclasses.Field | None) -> str:
    """An option: how it is written, what it is by default, what it means and may be."""
    if knob is None:
        return f"| {written(action)} | | {escaped(action.help or '')} |"
    words = escaped(knob.metadata["help"]) + (f" ({what})" if (what := values(knob)) else "")
    return f"| {written(action)} | {default(knob)} | {words} |"


def written(action: argparse.Action) -> str:
    """--name VALUE, or RUN for what has no flag."""
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    many = isinstance(action, argparse.BooleanOptionalAction)
    return f"`{action.option_strings[0]}{' ' + action.metavar if action.metavar and not many else ''}`"


def default(knob: dataclasses.Field) -> str:
    """The default as it would be given; nothing where that is empty, no for a switch."""
    if isinstance(knob.default, bool):
        return "yes" if knob.default else "no"
    text = ",".join(map(str, knob.default)) if isinstance(knob.default, tuple) else f"{knob.default}"
    return f"`{text}`" if text else ""


BOUNDS = {"least": "at least", "above": "above", "most": "at most", "below": "below"}


def values(knob: dataclasses.Field) -> str:
    """The choices, or the bounds; one so high that it says nothing is left out."""
    if choices := knob.metadata.get("choices"):
        return ", ".join(f"`{one}`" for one in choices)
    bounds = {name: knob.metadata[name] for name in BOUNDS if name in knob.metadata}
    return ", ".join(f"{BOUNDS[name]} {bound:,.12g}" for name, bound in bounds.items() if bound < MOST)


def escaped(text: str) -> str:
    """Plain words as Markdown shows them."""
    return "".join("\\" + letter if letter in "*[]<>|$" else letter for letter in text)


def page(path: Path) -> str:
    """The page with its reference part as it should be."""
    return path.read_text(encoding="utf-8").split(MARK)[0].rstrip() + "\n\n" + reference() + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(Path(sys.argv[1])), encoding="utf-8")
