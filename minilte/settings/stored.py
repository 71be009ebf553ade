"""Settings that were written down: the config.json of a run folder, and a user's TOML file."""

import dataclasses
import os
import re
import tomllib
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import brief, content, reason, shown
from minilte.settings.config import Config, all_settings, check_alone, nearest
from minilte.settings.knob import is_nothing, nothing
from minilte.settings.places import PLACES

FORMAT = 2  # of a run folder: 1 had no number, and one flat list of settings for all methods


def write_settings(path: Path, config: Config) -> None:
    """The settings of a run into its folder, sealed. Raises DiskTrouble."""
    values = {"format": FORMAT} | config.flat()
    folder.write_json(path / "config.json", values | {"seal": folder.seal(values)})


def read_settings(path: Path) -> Config:
    """The settings that a run folder was created with. Raises BadInput, Edited where they were changed since."""
    file = path / "config.json"
    if not path.is_dir():
        raise BadInput(f"{shown(path)}: no such folder; give the folder of a run")
    # what is no run folder may hold any number of files
    folder.refuse_links(path, folder.DEEPEST if file.exists() else 0)
    values = folder.read_json(file)
    sealed = "seal" not in values or values.pop("seal") == folder.seal(values)  # older folders have no seal
    if (found := values.pop("format", 1)) != FORMAT:
        raise BadInput(
            f"{shown(file)}: a run folder of format {brief(found)}, expected {FORMAT}; read it with the minilte that wrote it"
        )
    if unknown := sorted(values.keys() - set(all_settings())):
        raise BadInput(f"{shown(file)}: unknown key {brief(unknown[0])}; expected the settings that minilte wrote")
    config = Config(**values)
    if not sealed:
        raise Edited(file, config)
    return config


class Edited(BadInput):
    """The settings in a run folder are not those that minilte wrote."""

    def __init__(self, file: Path, config: Config):
        super().__init__(
            f"{shown(file)}: changed since minilte wrote it (its seal is broken); the run was made with other settings:"
            " restore them, or begin anew"
        )
        self.config = config

    def __reduce__(self):  # from one process to others
        return BadInput, (str(self),)


def absolute(config: Config, start: str = "") -> Config:
    """The same settings, whose files and folders are found from any working directory.

    Paths are relative to `start`, by default the working directory of this process.
    """
    paths = {}
    for place, part in config.parts.items():
        for knob in dataclasses.fields(part):
            if "path" in knob.metadata and (path := getattr(part, knob.name)):
                name = PLACES[place].flag if "hidden" in knob.metadata else knob.name
                paths[name] = os.path.abspath(os.path.join(start, path))
    return config.replace(**paths) if paths else config


LARGEST = 256 * 2**10  # bytes of a TOML file; in 8 MB there is room for a minute of thought
PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
# a.b.c and so on; over a name of 500,000 parts tomllib would think for hours
DEEP = re.compile(rf"(?<![\w-]){PART}(?:[ \t]*\.[ \t]*{PART}){{31}}")


def toml(path: str, what: str) -> dict:
    """The table in a TOML file; `what` opens the message. Raises BadInput naming the file."""
    try:
        text = content(path, LARGEST).decode()
        if DEEP.search(text):
            raise ValueError("a name of 32 parts")
        return tomllib.loads(text)
    except BadInput as trouble:
        raise BadInput(f"{what} {trouble}; give a readable TOML file") from None
    except (ValueError, RecursionError) as trouble:  # bad UTF-8, bad TOML, a number of 5,000 digits, 5,000 brackets
        raise BadInput(f"{what} {shown(path)}: not a TOML file ({reason(trouble)})") from None


def read_toml(path: str) -> dict:
    """A TOML file as settings by flat name (hyphens or underscores). Raises BadInput naming file and key.

    Every value is one that its setting takes, also where a flag will win.
    """
    return settings_in(toml(path, "config"), f"config {shown(path)}")


def settings_in(table: dict, where: str) -> dict:
    """The settings of a table by flat name; `where` opens the message. Raises BadInput naming the key."""
    known, values = all_settings(), {}
    for key, value in table.items():
        if (name := key.replace("-", "_")) not in known:
            raise BadInput(f"{where}: unknown key {key!r:.60}{nearest(name, known)}")
        if name in values:
            raise BadInput(f"{where}: {key!r} is given twice, with a hyphen and with an underscore")
        try:
            values[name] = taken(name, value)
        except BadInput as trouble:
            raise BadInput(f"{where}: {trouble}") from None
    return values


def taken(name: str, value):
    """The value, if its setting takes it, whatever the others are. Raises BadInput."""
    if is_nothing(value):
        raise BadInput(nothing(name))
    check_alone(name, value)
    return value
