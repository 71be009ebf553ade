"""A ladder in a TOML file: its rules and the settings that all share, then a table for each entry."""

from minilte.compare.entrants import Entry, entry
from minilte.compare.rules import Rules
from minilte.core.errors import BadInput
from minilte.disk.files import brief, shown
from minilte.settings.stored import settings_in, toml

OF_ENTRY = ("parts", "grid")  # of an entry, beside the settings of a run


def read_ladder(path: str) -> tuple[dict[str, Entry], dict]:
    """(name -> entry, rules and shared settings) of a file. Raises BadInput naming file and key.

    steps = 1000
    [entries.full]
    parts = "full"
    [entries."LTE, wide"]
    parts = "lte+outer"
    rank = 64
    grid = {lr = [1e-3, 2e-3], outer_momentum = [0.5, 0.9]}
    """
    where, table = f"ladder {shown(path)}", toml(path, "ladder")
    tables = table.pop("entries", {})
    if not isinstance(tables, dict) or not tables:
        raise BadInput(f"{where}: expected [entries.NAME] tables, got {brief(tables)}")
    rules = {}
    for key in [key for key in table if key.replace("-", "_") in Rules.__dataclass_fields__]:
        if (name := key.replace("-", "_")) in rules:
            raise BadInput(f"{where}: {key!r} is given twice, with a hyphen and with an underscore")
        rules[name] = table.pop(key)
    entries = {}
    for name, of in tables.items():
        here = f"{where}: {name}"
        if not isinstance(of, dict):
            raise BadInput(f"{here}: expected a table, got {brief(of)}")
        own = {key: of.pop(key) for key in OF_ENTRY if key in of}
        if not isinstance(own.get("parts", ""), str):
            raise BadInput(f'{here}: parts: expected text, as "lte+ties", got {brief(own["parts"])}')
        try:
            entries[name] = entry(own.get("parts", ""), grid=grid(own.get("grid", {})), **settings_in(of, here))
        except BadInput as trouble:
            raise BadInput(f"{here}: {str(trouble).removeprefix(f'{here}: ')}") from None
    return entries, rules | settings_in(table, where)


def grid(of) -> dict:
    """The grid of an entry, by the names of knobs. Raises BadInput."""
    if not isinstance(of, dict):
        raise BadInput(f"grid: expected a table of lists, as {{lr = [0.001, 0.002]}}, got {brief(of)}")
    return {name.replace("-", "_"): values for name, values in of.items()}
