"""The settings of a run, as a choice of parts. Flags, TOML files and `ml.Config(...)` all end here."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from minilte.core.errors import BadInput
from minilte.disk.files import brief
from minilte.settings.given import MAY, OWN, Given
from minilte.settings.knob import checked, flag_name, plain
from minilte.settings.part import check_together, every_part, find, knobs, owners, words_of
from minilte.settings.places import PLACES, Place


@dataclass(frozen=True, init=False, repr=False)
class Config:
    """Everything that decides the numbers of a run: place -> part.

    Config(method="lte", rank=8, data="mine.npz") takes settings by their flat names, as flags do. `config.method` is
    the part that fills a place, `config.rank` a setting of a part that was chosen. Raises BadInput, naming the setting.

    >>> config = Config(method="lte", rank=8)
    >>> config.method.name, config.rank, config.adapters.rank
    ('lte', 8, 8)
    """

    parts: dict[str, Any]

    def __init__(self, **settings):
        self._fill(settings, may_go=())

    def _fill(self, settings: dict, may_go: Iterable[str]) -> None:
        rest = dict(settings)
        wanted = {place: choose(place, spec, rest) for place, spec in PLACES.items()}
        rest = wanted["method"][0].usual | rest
        brought = brought_by({place: cls for place, (cls, _) in wanted.items()}, settings)
        parts = {}
        for place, (cls, extra) in wanted.items():
            if PLACES[place].always or place in brought:
                mine = {name: rest.pop(name) for name in knobs(cls) if name in rest}
                parts[place] = cls(**extra, **mine)
            elif (flag := PLACES[place].flag) in settings and flag not in may_go:
                raise BadInput(not_chosen(flag))
        for name in rest:
            if name not in may_go:
                raise BadInput(not_chosen(name))
        object.__setattr__(self, "parts", parts)
        check_together(parts, self)

    def __getattr__(self, name: str):
        parts = vars(self).get("parts", {})  # while a copy is being made there are none
        if name in parts:
            return parts[name]
        for part in parts.values():
            if name in knobs(part):
                return getattr(part, name)
        raise AttributeError(f"no setting {name!r} in a run of these parts: {', '.join(parts)}")

    def flat(self) -> dict:
        """All settings by their flat names, the choices among them: what a flag, a TOML file or JSON can hold."""
        values = {}
        for place, part in self.parts.items():
            if flag := PLACES[place].flag:
                values[flag] = part.path if part.name == PLACES[place].other else part.name
            values |= {name: getattr(part, name) for name in knobs(part)}
        return values

    def own(self) -> dict:
        """The settings that are not what they are by default, with this method."""
        usual = {spec.flag: spec.default for spec in PLACES.values()}
        usual |= {name: knob.default for part in self.parts.values() for name, knob in knobs(part).items()}
        usual |= self.method.usual
        return {name: value for name, value in self.flat().items() if value != usual[name]}

    def replace(self, **changes) -> "Config":
        """The same run with other settings. What belongs to a part that is no longer chosen goes with it."""
        made, had = object.__new__(Config), self.own()
        made._fill(had | changes, may_go=had.keys() - changes.keys())
        given = {place for place, part in made.parts.items() if isinstance(part, Given)}
        kept = {place: part for place, part in self.parts.items() if place in given and isinstance(part, Given)}
        object.__setattr__(made, "parts", made.parts | kept)
        return made

    @classmethod
    def reading(cls, shared: dict, **own) -> "Config":
        """A run with its own settings, and those of the shared ones that belong to a part of it. Raises BadInput.

        >>> Config.reading({"rank": 4, "steps": 30}, method="full").own()
        {'method': 'full', 'steps': 30}
        """
        made = object.__new__(cls)
        made._fill(shared | own, may_go=shared.keys() - own.keys())
        return made

    def holding(self, **things) -> "Config":
        """The same run with the caller's own things, by place, in the place of its parts. Raises BadInput."""
        made, given = object.__new__(Config), {place: thing for place, thing in things.items() if thing is not None}
        parts = self._without_method() if "method" in given else self.parts
        for place in given:
            if place not in parts or place not in MAY:
                whose = "a method of your own" if "method" in given else words_of(self.method)
                raise BadInput(f"{place}: {whose} takes none, got {brief(given[place])}")
        gone = set().union(*(parts[place].brings for place in given if place != "method"))
        kept = {place: part for place, part in parts.items() if place not in gone}
        object.__setattr__(made, "parts", kept | {place: Given(place, thing) for place, thing in given.items()})
        check_together(made.parts, made)
        return made

    def _without_method(self) -> dict[str, Any]:
        """The parts that the caller's own method finds: those that no method brings, and the adapters.

        Raises BadInput for a setting of the other parts that is not at its default: nothing would read it.
        """
        kept = {place: part for place, part in self.parts.items() if PLACES[place].always or place == "adapters"}
        read = {"method"}.union(*(settings_of(place) for place in kept if place != "method"))
        for name, value in self.own().items():
            if name not in read:
                raise BadInput(
                    f"{flag_name(name)}: a method of your own does not read it, got {brief(value)}; leave it out, and"
                    " give the function what it needs"
                )
        return kept

    def __hash__(self):
        return hash(repr(self))

    def __repr__(self):
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self.own().items())})"


def choose(place: str, spec: Place, rest: dict) -> tuple[type, dict]:
    """(part, hidden knobs) that the settings choose for a place; the choice is taken out of `rest`. Raises BadInput."""
    if not spec.flag:
        return find(place, place), {}
    word = plain(rest.pop(spec.flag, spec.default))
    known = [name for name in spec.names if name != spec.other]
    if word == OWN and place in MAY:
        return Given, {"place": place}
    if word in known:
        return find(place, word), {}
    if spec.other and isinstance(word, str) and word:
        return find(place, spec.other), {"path": word}
    raise BadInput(
        f"{flag_name(spec.flag)}: expected one of {', '.join(known)}, got {brief(word)}{nearest(word, known)}"
    )


def check_alone(name: str, value) -> None:
    """Raises BadInput where no part takes the value for this setting, whatever the other settings are."""
    found = []
    for place, spec in PLACES.items():
        if name == spec.flag:
            choose(place, spec, {name: value})
            return
        found += [knobs(cls)[name] for cls in every_part(place) if name in knobs(cls)]
    first, *others = dict.fromkeys(found)
    if not any(takes(knob, value) for knob in others):
        checked(first, value)


def takes(knob, value) -> bool:
    """Does the value fit the knob?"""
    try:
        checked(knob, value)
    except BadInput:
        return False
    return True


def brought_by(wanted: dict[str, type], given: dict) -> set[str]:
    """The places that come with a method and its parts; with one of the caller's own, those that the settings speak of."""
    if wanted["method"] is Given:
        return {place for place in PLACES if not given.keys().isdisjoint(settings_of(place))}
    places = set(wanted["method"].brings)
    return places.union(*(wanted[place].brings for place in places))


def not_chosen(name: str) -> str:
    """Why a setting is refused: whose it is, or what it may have meant."""
    if found := owners(name):
        return f"{flag_name(name)}: belongs to {' or '.join(found)}; leave it out, or choose that"
    return f"unknown setting {brief(name)}{nearest(name, all_settings())}"


def all_settings() -> list[str]:
    """The flat names of all settings of all parts."""
    return list(defaults())


def defaults() -> dict:
    """What every setting of any part is by default, by its flat name."""
    return {name: value for place in PLACES for name, value in settings_of(place).items()}


def settings_of(place: str) -> dict:
    """The defaults of all parts of a place, with that which chooses among them."""
    spec = PLACES[place]
    choice = {spec.flag: spec.default} if spec.flag else {}
    return choice | {name: knob.default for cls in every_part(place) for name, knob in knobs(cls).items()}


def nearest(name, known: Iterable[str]) -> str:
    """ ", did you mean …?" when something known looks like it, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f", did you mean {close[0]}?" if close else ""
