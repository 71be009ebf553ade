"""Settings that were written down: the config.json of a run folder."""

import dataclasses
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import brief, shown
from minilte.settings.config import Config


def read_settings(path: Path) -> Config:
    """The settings that a run folder was created with. Raises BadInput."""
    if not path.is_dir():
        raise BadInput(f"{shown(path)}: no such folder; give the folder of a run")
    folder.refuse_links(path)
    values, known = folder.read_json(path / "config.json"), {setting.name for setting in dataclasses.fields(Config)}
    if unknown := [name for name in values if name not in known]:
        raise BadInput(
            f"{shown(path / 'config.json')}: unknown key {brief(unknown[0])}; expected the settings that minilte wrote"
        )
    return Config(**values)
