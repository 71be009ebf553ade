"""A module of ours with a bug in its text."""

from pathlib import Path
from types import ModuleType


def rewritten(module: ModuleType, old: str, new: str) -> dict:
    """The names of a module whose text has `new` wherever it had `old`; the text must have it."""
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert old in text, old
    names = {"__name__": "planted"}
    exec(compile(text.replace(old, new), "planted", "exec"), names)  # noqa: S102  our own text
    return names
