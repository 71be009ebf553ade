"""Outcomes of whole runs, kept in a folder by the name of the run: what was measured once is not measured again."""

from pathlib import Path

from minilte.compare.keys import FORMAT
from minilte.compare.trial import Outcome
from minilte.core.errors import BadInput
from minilte.disk import folder
from minilte.disk.files import shown
from minilte.disk.outputs import make_folder


class Store:
    """Outcomes in runs/ of a folder, a file each, or in memory where there is no folder."""

    def __init__(self, path: Path | None):
        self.path, self.known = path and path / "runs", {}

    def get(self, key: str) -> Outcome | None:
        """The outcome of this name, if it is there. Raises BadInput for a file that holds no outcome."""
        if key not in self.known and self.path and (file := self.file(key)).exists():
            self.known[key] = read(file)
        return self.known.get(key)

    def put(self, key: str, settings: dict, outcome: Outcome) -> None:
        """Keep an outcome, with the settings of its run for whoever reads the file. Raises DiskTrouble."""
        if self.path:
            make_folder(self.path)
            values = {"format": FORMAT, "settings": settings} | outcome._asdict()
            folder.write_json(self.file(key), values | {"seal": folder.seal(values)})
        self.known[key] = outcome

    def file(self, key: str) -> Path:
        """Where it is."""
        return self.path / f"{key}.json"


def read(file: Path) -> Outcome:
    """The outcome in a file. Raises BadInput."""
    values = folder.read_json(file)
    if values.get("seal") != folder.seal(values) or values.get("format") != FORMAT:
        raise BadInput(f"{shown(file)}: not an outcome as minilte wrote it; delete it, and it is measured anew")
    return Outcome(*(values[name] for name in Outcome._fields))
