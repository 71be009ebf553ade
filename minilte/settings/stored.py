"""Settings that were written down: the config.json of a run folder, and a user's TOML file."""

import re
import tomllib
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import TEXT, brief, content, reason, shown
from minilte.settings.config import Config, all_settings, nearest

FORMAT = 2  # of a run folder: 1 had no number, and one flat list of settings for all methods


def write_settings(path: Path, config: Config) -> None:
    """The settings of a run into its folder. Raises DiskTrouble."""
    folder.write_json(path / "config.json", {"format": FORMAT} | config.flat())


def read_settings(path: Path) -> Config:
    """The settings that a run folder was created with. Raises BadInput."""
    if not path.is_dir():
        raise BadInput(f"{shown(path)}: no such folder; give the folder of a run")
    folder.refuse_links(path)
    file = path / "config.json"
    values = folder.read_json(file)
    if (found := values.pop("format", 1)) != FORMAT:
        raise BadInput(
            f"{shown(file)}: a run folder of format {brief(found)}, expected {FORMAT}; read it with the minilte that wrote it"
        )
    if unknown := sorted(values.keys() - set(all_settings())):
        raise BadInput(f"{shown(file)}: unknown key {brief(unknown[0])}; expected the settings that minilte wrote")
    return Config(**values)


PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
# a.b.c and so on; over a name of 500,000 parts tomllib would think for hours
DEEP = re.compile(rf"(?<![\w-]){PART}(?:[ \t]*\.[ \t]*{PART}){{31}}")


def read_toml(path: str) -> dict:
    """A TOML file as settings by flat name (hyphens or underscores). Raises BadInput naming file and key."""
    try:
        text = content(path, TEXT).decode()
        if DEEP.search(text):
            raise ValueError("a name of 32 parts")
        table = tomllib.loads(text)
    except BadInput as trouble:
        raise BadInput(f"config {trouble}; give a readable TOML file") from None
    except (ValueError, RecursionError) as trouble:  # bad UTF-8, bad TOML, a number of 5,000 digits, 5,000 brackets
        raise BadInput(f"config {shown(path)}: not a TOML file ({reason(trouble)})") from None
    known, values = all_settings(), {}
    for key, value in table.items():
        if (name := key.replace("-", "_")) not in known:
            raise BadInput(f"config {shown(path)}: unknown key {key!r:.60}{nearest(name, known)}")
        if name in values:
            raise BadInput(f"config {shown(path)}: {key!r} is given twice, with a hyphen and with an underscore")
        values[name] = value
    return values
