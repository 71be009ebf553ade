"""A part: a way to fill a place in a run's settings. It brings its knobs, its checks, and what it needs of others.

    @part("rule", "ties", needs={"each"})
    class Ties:
        ...
        density: float = knob(0.2, "part of a change that is kept", above=0.0, most=1.0)

It may define check(), for what its own knobs must hold together, and check_with(config), for what no single part can
know. `needs` and `gives` may be properties, where they follow from the settings; `because` then names the setting that
needs something.
"""

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import fields

from minilte.core.errors import BadInput
from minilte.settings.knob import flag_name, of_knobs
from minilte.settings.places import PLACES

PARTS: dict[str, dict[str, type]] = {}  # place -> name -> class

FACTS = {  # a word that one part needs and another gives, and how to have it
    "each": "what every head sends, one by one: --topology allgather or server",
    "codes": "factors that travel: --topology allgather or server",
    "sums": "a method whose merge needs sums alone",
    "factors": "a method that merges factors",
    "served W": "a method whose master sends W",
    "no reset": "--reset none",
    "reset": "--reset b or ab",
    "one rank": "one rank for all heads: --head-ranks of equal numbers, or none",
    "all heads": "--bad-heads stop, which leaves no head out",
    "shares by data": "--merge-rule weighted",
    "leaves out": "--bad-heads skip or clip",
    "any number": "--wire full or bfloat16, which carry any number",
    "float W": "--quant none: there is no W in full precision at the heads",
}


def part(
    place: str,
    name: str,
    needs: Iterable[str] = (),
    gives: Iterable[str] = (),
    brings: Iterable[str] = (),
    because: str = "",
    usual: dict | None = None,
    rates: Sequence[float] = (),
):
    """Register a class of knobs as the part `name` of a place. `brings` are the places that come with it.

    `usual` are the values, by flat name, of settings that it wants otherwise than by default where they are not given;
    `rates` the learning rates that its tuning begins with, where those of the optimizer are not the usual ones.
    """

    def register(cls):
        cls.place, cls.name, cls.brings, cls.because = place, name, tuple(brings), because
        cls.usual, cls.rates = dict(usual or {}), tuple(rates)
        for word, given in (("needs", needs), ("gives", gives)):
            if word not in vars(cls):
                setattr(cls, word, frozenset(given))
        if "check_with" not in vars(cls):
            cls.check_with = lambda self, config: None
        cls.__qualname__ = cls.__name__  # in its repr; some are made by a function
        made = PARTS.setdefault(place, {})[name] = of_knobs(cls)
        return made

    return register


def find(place: str, name: str) -> type:
    """The part of this name; its module is imported when it is first asked for."""
    if name not in PARTS.get(place, {}):
        importlib.import_module(f"minilte.{PLACES[place].names[name]}")
    return PARTS[place][name]


def every_part(place: str) -> list[type]:
    """All parts of a place, in the order of their names' list."""
    return [find(place, name) for name in PLACES[place].names]


def knobs(cls) -> dict:
    """The knobs of a part that have a flag, by name."""
    return {field.name: field for field in fields(cls) if not field.metadata.get("hidden")}


def check_together(parts: dict, config) -> None:
    """No part needs what no other gives, and each fits the whole. Raises BadInput."""
    given = frozenset().union(*(chosen.gives for chosen in parts.values()))
    for chosen in parts.values():
        for word in sorted(chosen.needs - given):
            raise BadInput(f"{chosen.because or words_of(chosen)}: needs {FACTS[word]}")
    for chosen in parts.values():
        chosen.check_with(config)


def words_of(chosen) -> str:
    """How a part was chosen: "merge-rule ties"."""
    flag = PLACES[chosen.place].flag
    return f"{flag_name(flag)} {chosen.name}" if flag else chosen.place


def owners(name: str) -> list[str]:
    """The choices that a setting belongs to, as flags: ["--method lte"]."""
    found: dict[str, list[str]] = {}
    for place, spec in PLACES.items():
        having = ["PATH" if cls.name == spec.other else cls.name for cls in every_part(place) if name in knobs(cls)]
        if having and spec.flag:
            found.setdefault(spec.flag, []).extend(having)
        elif not spec.always and (having or name == spec.flag):
            for flag, names in bringers(place).items():
                found.setdefault(flag, []).extend(names)
    return as_flags(found)


def bringers(place: str) -> dict[str, list[str]]:
    """flag -> the names of the parts that a place comes with."""
    found: dict[str, list[str]] = {}
    for other, spec in PLACES.items():
        if names := [cls.name for cls in every_part(other) if place in cls.brings]:
            found[spec.flag] = names
    return found


def as_flags(found: dict[str, list[str]]) -> list[str]:
    """Choices as they are written: ["--method lte, fedavg"]."""
    return [f"--{flag_name(flag)} {', '.join(names)}" for flag, names in found.items()]
