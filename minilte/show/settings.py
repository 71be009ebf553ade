"""The settings in a report: those of a run, those that differ between runs, and the command that repeats the run."""

import inspect
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from minilte.run.machine import SAME_BITS, plain
from minilte.settings.config import Config
from minilte.settings.given import Given
from minilte.settings.knob import flag_name
from minilte.settings.part import knobs
from minilte.settings.places import PLACES
from minilte.show.markup import Html, element, table
from minilte.show.past import Named, Run


class Setting(NamedTuple):
    """A setting of a run, with what it means."""

    name: str
    value: Any
    meaning: str


def flag(name: str) -> Html:
    """A setting as it is written on the command line."""
    return element("code", f"--{flag_name(name)}")


def words_of(value) -> str:
    """The value of a setting as a person reads it."""
    if isinstance(value, tuple):
        return ", ".join(map(words_of, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def settings(config: Config) -> Iterator[Html]:
    """The settings that differ from the defaults, and the rest to unfold, a table for each part."""
    own = config.own()
    parts = {PLACES[place].title: settings_of(place, part, config.flat()) for place, part in config.parts.items()}
    mine = [setting for part in parts.values() for setting in part if setting.name in own]
    if mine:
        yield element("div", settings_table("setting", mine, "Settings that are not defaults"), class_="settings")
    else:
        yield element("p", "All are the defaults.")
    rest = {title: [setting for setting in part if setting.name not in own] for title, part in parts.items()}
    count = sum(map(len, rest.values()))
    title = element("summary", f"{'The other' if mine else 'The'} {count} settings, at their defaults")
    tables = [settings_table(part, of, f"At their defaults: {part}") for part, of in rest.items() if of]
    yield element("details", title, element("div", tables, class_="settings"))


def settings_of(place: str, part, flat: dict) -> list[Setting]:
    """The settings of a part, after the choice of the part itself where there is a choice."""
    choice = PLACES[place].flag
    first = [Setting(choice, flat[choice], inspect.getdoc(type(part)).splitlines()[0])] if choice else []
    return first + [Setting(name, flat[name], knob.metadata["help"]) for name, knob in knobs(part).items()]


def settings_table(head: str, of: Sequence[Setting], label: str) -> Html:
    """Name, value and meaning of settings."""
    rows = [[flag(setting.name), words_of(setting.value), setting.meaning] for setting in of]
    return table([head, "value", "meaning"], rows, label, numbers=False)


def differences(named: Sequence[Named]) -> Iterator[Html]:
    """The settings, and the facts of the machines, that are not the same in all runs.

    A setting that some runs do not have is left out where the others have it at its default.
    """
    marks, configs = ["", *(entry.mark for entry in named)], [entry.run.config for entry in named]
    flats, own = [config.flat() for config in configs], {name for config in configs for name in config.own()}
    usual = {name for flat in flats for name in flat if name not in own and not all(name in other for other in flats)}
    rows = [row for row in unequal(flats, words_of, "—") if row[0] not in usual]
    yield (
        table(
            marks, [[flag(name), *values] for name, values in rows], "Settings that differ", wide=True, numbers=False
        )
        if rows
        else element("p", "No setting.")
    )
    rows = unequal([entry.run.env for entry in named], plain, "not known")
    if rows:
        yield element("p", "Where they ran:")
        rows = [[plain(key), *values] for key, values in rows]
        yield table(marks, rows, "What differs between the machines", wide=True, numbers=False)


def unequal(runs: Sequence[dict], words, lacking: str) -> list[tuple[str, list[str]]]:
    """(key, its value in each run, in words) of every key whose words are not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run)
    found = [(key, [words(run[key]) if key in run else lacking for run in runs]) for key in keys]
    return [(key, values) for key, values in found if len(set(values)) > 1]


# --------------------------------------------------------------------------------------------- once more


def again(run: Run) -> Iterator[Html]:
    """The command that repeats the weights, the hash that proves it, and the machine that it needs."""
    if run.summary is None:
        yield element("p", "To end it:")
        yield code(f"python -m minilte.train --resume {shlex.quote(str(run.path))}")
        yield element("p", "To begin it anew:")
    yield code(command(run.config, run.env))
    for why in other_bits(run):
        yield element("p", f"The command alone gives other bits: {why}.")
    if run.summary:
        yield element("p", "The final weights have this SHA-256, over their bytes in the order of the layers:")
        yield code(run.summary["weights_sha256"])
    yield from machine(run.env, stacked=bool(run.built and run.built.method.together))


def other_bits(run: Run) -> Iterator[str]:
    """Why the settings alone do not make a run again."""
    if run.resized:
        yield "the number of heads changed on the way"
    if run.longer:
        yield "the run went on for more steps than its schedule began with"
    if run.config.topology.quorum:
        yield "which processes were late is no setting"
    if given := [PLACES[place].title for place, part in run.config.parts.items() if isinstance(part, Given)]:
        yield f"the program that made the run brought its own {', '.join(given)}"


def machine(env: dict, stacked: bool) -> Iterator[Html]:
    """The machine that the run began on; where heads are stacked, the bits depend on the heads of each process."""
    if not env:
        yield element("p", "The folder has no env.json, so the machine is not known.")
        return
    *most, last = (key.replace("_", " ") for key in SAME_BITS)
    processes = "matters, too: stacked heads share products" if stacked else "does not matter"
    yield element(
        "p", f"The same bits need the same {', '.join(most)} and {last}. The number of processes {processes}."
    )
    rows = [[plain(key).replace("_", " "), plain(value)] for key, value in env.items()]
    yield table(["", ""], rows, "The machine", numbers=False)


def code(text: str) -> Html:
    """A line to copy."""
    return element("pre", element("code", text))


def command(config: Config, env: dict) -> str:
    """The command line that starts a run with these settings, on as many processes."""
    words = ["python", "-m", "minilte.train"]
    if type(processes := env.get("processes")) is int and processes > 1:
        words = ["mpirun", "-n", str(processes), *words]
    for name, value in config.own().items():
        words += words_for(flag_name(name), value)
    return shlex.join(words)


def words_for(name: str, value) -> list[str]:
    """A setting as words of a command line."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
