"""The settings in a report: those of a run, those that differ between runs, and the command that repeats the run."""

import inspect
import shlex
from collections.abc import Iterator, Sequence

from minilte.run.machine import SAME_BITS, plain
from minilte.settings.config import Config
from minilte.settings.given import Given
from minilte.settings.knob import flag_name
from minilte.settings.part import knobs
from minilte.settings.places import PLACES
from minilte.show.markup import Html, element, table
from minilte.show.past import Named, Run


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
    parts = {PLACES[place].title: rows_of(place, part, config.flat()) for place, part in config.parts.items()}
    mine = [row for rows in parts.values() for name, row in rows.items() if name in own]
    if mine:
        yield element("div", described("setting", mine, "Settings that are not defaults"), class_="settings")
    else:
        yield element("p", "All are the defaults.")
    rest = {title: [row for name, row in rows.items() if name not in own] for title, rows in parts.items()}
    count = sum(map(len, rest.values()))
    title = element("summary", f"{'The other' if mine else 'The'} {count} settings, at their defaults")
    tables = [described(part, rows, f"At their defaults: {part}") for part, rows in rest.items() if rows]
    yield element("details", title, element("div", tables, class_="settings"))


def rows_of(place: str, part, flat: dict) -> dict[str, list]:
    """Name -> [flag, value, meaning] of a part's settings, after the choice of the part itself where there is a choice."""
    choice = PLACES[place].flag
    meanings = {choice: inspect.getdoc(type(part)).splitlines()[0]} if choice else {}
    meanings |= {name: knob.metadata["help"] for name, knob in knobs(part).items()}
    return {name: [flag(name), words_of(flat[name]), meaning] for name, meaning in meanings.items()}


def described(head: str, rows: Sequence[list], label: str) -> Html:
    """A table of settings with their values and meanings."""
    return table([head, "value", "meaning"], rows, label, numbers=False)


def differences(named: Sequence[Named]) -> Iterator[Html]:
    """The settings, and the facts of the machines, that are not the same in all runs.

    A setting that some runs do not have is left out where the others have it at its default.
    """
    marks, configs = ["", *(entry.mark for entry in named)], [entry.run.config for entry in named]
    flats, own = [config.flat() for config in configs], {name for config in configs for name in config.own()}
    usual = {name for flat in flats for name in flat if name not in own and not all(name in other for other in flats)}
    rows = [[flag(name), *values] for name, values in unequal(flats, words_of, "—") if name not in usual]
    if rows:
        yield table(marks, rows, "Settings that differ", wide=True, numbers=False)
    else:
        yield element("p", "No setting.")
    rows = [[plain(key), *values] for key, values in unequal([entry.run.env for entry in named], plain, "not known")]
    if rows:
        yield element("p", "Where they ran:")
        yield table(marks, rows, "What differs between the machines", wide=True, numbers=False)


def unequal(runs: Sequence[dict], words, lacking: str) -> list[tuple[str, list[str]]]:
    """(key, its value in each run, in words) of every key whose words are not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run)
    found = [(key, [words(run[key]) if key in run else lacking for run in runs]) for key in keys]
    return [(key, values) for key, values in found if len(set(values)) > 1]


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
    words = f"The same bits need the same {', '.join(most)} and {last}. The number of processes {processes}."
    yield element("p", words)
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
        name = flag_name(name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return shlex.join(words)
