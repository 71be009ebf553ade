"""Fields of a settings dataclass that know their help and their bounds, and refuse what does not fit."""

import dataclasses
import os
import sys
import types
import typing

import numpy as np

from minilte.core.errors import BadInput
from minilte.disk.files import WORDS, brief

MOST = 10**9  # of anything that is counted: far beyond use, and every float and index can hold it


def knob(default, help, **bounds):
    """A field with its help text and bounds: least, above, most, below, choices. Classes may share it under its name.

    `word` makes it an argument without a flag, as RUN; `count` is then "+" or "*" where there may be many. `path` says
    that it names a file or a folder.
    """
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


def of_knobs(cls: type) -> type:
    """A frozen dataclass of knobs. A new instance has every knob in its own type; then it passes its own check().

    Raises BadInput naming the knob.
    """

    def settle(self):
        for knob_ in dataclasses.fields(self):
            object.__setattr__(self, knob_.name, checked(knob_, getattr(self, knob_.name)))
        if hasattr(cls, "check"):
            self.check()

    cls.__post_init__ = settle
    return dataclasses.dataclass(frozen=True)(cls)


def flag_name(name: str) -> str:
    """merge_every -> merge-every, as written in flags and error lines."""
    return name.replace("_", "-")


def item_type(kind) -> tuple[type, bool]:
    """(type of one value, is it a list of them) of a field's annotation."""
    if isinstance(kind, types.GenericAlias):
        return typing.get_args(kind)[0], True
    return kind, False


def checked(knob_: dataclasses.Field, value):
    """The value in the field's own type; raises BadInput when type or bounds do not fit."""
    kind, many = item_type(knob_.type)
    value = plain(value)
    values = list(value) if many and isinstance(value, (tuple, list)) else [value]
    try:
        values = [typed(item, kind) for item in values]
        for item in values:
            check_bounds(item, knob_.metadata)
    except ValueError as trouble:
        raise BadInput(f"{flag_name(knob_.name)}: {trouble}") from None
    if is_nothing(value) and not is_nothing(knob_.default):
        raise BadInput(nothing(knob_.name))
    return tuple(values) if many else values[0]


def is_nothing(value) -> bool:
    """Is it an empty text or list, or a list with an empty text? None is a value; a knob's own default may be empty."""
    return isinstance(value, (str, list, tuple)) and not (value and all(item != "" for item in value))


def nothing(name: str) -> str:
    """Why what is given must not be empty, as from a shell variable that is not set: it would mean that it is not given."""
    return f"{flag_name(name)}: expected a value, got nothing; leave it out, or name one"


def plain(value):
    """A NumPy scalar or array, or a path, as Python's own value; the same for the items of a list."""
    if isinstance(value, (list, tuple)):
        return [item.tolist() if isinstance(item, np.generic) else item for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def typed(value, kind: type):
    """The value as `kind`: an int passes for a float, and nothing else passes for anything. Raises ValueError."""
    fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if not fits or (kind is float and not abs(value) <= sys.float_info.max):  # false for NaN too
        raise ValueError(f"expected {WORDS[kind]}, got {brief(value)}")
    return kind(value)


BOUNDS = {
    "least": ("of at least", lambda value, bound: value >= bound),
    "above": ("above", lambda value, bound: value > bound),
    "most": ("of at most", lambda value, bound: value <= bound),
    "below": ("below", lambda value, bound: value < bound),
}


def check_bounds(value, bounds) -> None:
    """Raises ValueError, naming the bound, when the value is outside."""
    if "choices" in bounds and value not in bounds["choices"]:
        raise ValueError(f"expected one of {', '.join(bounds['choices'])}, got {brief(value)}")
    for name, (words, holds) in BOUNDS.items():
        if name in bounds and not holds(value, bounds[name]):
            raise ValueError(f"expected {WORDS[type(value)]} {words} {bounds[name]:g}, got {brief(value)}")
