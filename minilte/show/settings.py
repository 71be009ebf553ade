"""The settings in a report: what was asked for, what differs between runs, and the command that asks for it again."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence

from minilte.show.markup import Html, element, table
from minilte.show.past import Named, Run
from minilte.settings.config import Config
from minilte.settings.knob import flag_name
from minilte.run.machine import SAME_BITS, plain


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
    """What differs from the defaults, and all the rest to unfold."""
    own = [field for field in dataclasses.fields(Config) if getattr(config, field.name) != field.default]
    rest = [field for field in dataclasses.fields(Config) if field not in own]
    yield (
        settings_table(config, own, "Settings that are not defaults")
        if own
        else element("p", "All are the defaults.")
    )
    title = element("summary", f"{'The other' if own else 'The'} {len(rest)} settings, at their defaults")
    yield element("details", title, settings_table(config, rest, "Settings at their defaults"))


def settings_table(config: Config, fields: Sequence[dataclasses.Field], label: str) -> Html:
    """Name, value and meaning of settings."""
    rows = [[flag(field.name), words_of(getattr(config, field.name)), field.metadata["help"]] for field in fields]
    return element("div", table(["setting", "value", "meaning"], rows, label, numbers=False), class_="settings")


def differences(named: Sequence[Named]) -> Iterator[Html]:
    """The settings that are not the same in all runs, and of the machines what is not."""
    configs, machines = [one.run.config for one in named], [one.run.env for one in named]
    marks = ["", *(one.mark for one in named)]
    asked = [
        (field.name, [words_of(getattr(config, field.name)) for config in configs])
        for field in dataclasses.fields(Config)
    ]
    rows = [[flag(name), *values] for name, values in asked if len(set(values)) > 1]
    yield (
        table(marks, rows, "Settings that differ", wide=True, numbers=False) if rows else element("p", "No setting.")
    )
    keys = dict.fromkeys(key for machine in machines for key in machine)
    found = [(key, [plain(machine.get(key, "not known")) for machine in machines]) for key in keys]
    rows = [[plain(key), *values] for key, values in found if len(set(values)) > 1]
    if rows:
        yield element("p", "Where they ran:")
        yield table(marks, rows, "What differs between the machines", wide=True, numbers=False)


# --------------------------------------------------------------------------------------------- once more


def again(run: Run) -> Iterator[Html]:
    """The command that gives the same weights, how to know that it did, and where it does."""
    if run.summary is None:
        yield element("p", "To end it:")
        yield code(f"python -m minilte.train --resume {shlex.quote(str(run.path))}")
        yield element("p", "To begin it anew:")
    yield code(command(run.config, run.env))
    if run.resized or run.config.quorum:
        why = "the number of heads changed on the way" if run.resized else "which ranks were late is no setting"
        yield element("p", f"The command alone gives other bits: {why}.")
    if run.summary:
        yield element("p", "The final weights have this SHA-256, over their bytes in the order of the layers:")
        yield code(run.summary["weights_sha256"])
    yield from machine(run.env)


def machine(env: dict) -> Iterator[Html]:
    """The machine that the run began on."""
    if not env:
        yield element("p", "The folder has no env.json, so the machine is not known.")
        return
    *most, last = (key.replace("_", " ") for key in SAME_BITS)
    yield element(
        "p", f"The same bits need the same {', '.join(most)} and {last}. The number of ranks does not matter."
    )
    yield table(
        ["", ""],
        [[plain(key).replace("_", " "), plain(value)] for key, value in env.items()],
        "The machine",
        numbers=False,
    )


def code(text: str) -> Html:
    """Something to copy."""
    return element("pre", element("code", text))


def command(config: Config, env: dict) -> str:
    """The command line that starts a run with these settings, on as many ranks."""
    words = ["python", "-m", "minilte.train"]
    if type(ranks := env.get("ranks")) is int and ranks > 1:
        words = ["mpirun", "-n", str(ranks), *words]
    for field in dataclasses.fields(Config):
        if (value := getattr(config, field.name)) != field.default:
            words += given(flag_name(field.name), value)
    return shlex.join(words)


def given(name: str, value) -> list[str]:
    """A setting as words of a command line."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
