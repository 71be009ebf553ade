"""What is compared: entries as they are named, and the runs that they stand for on one ladder."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from minilte.compare.tuning import Axes, Point
from minilte.core.errors import BadInput
from minilte.run.own import refuse_other_kinds
from minilte.settings.config import Config, nearest, not_chosen
from minilte.settings.knob import flag_name
from minilte.settings.places import PLACES

CHOICES = (
    "rule",
    "inner_rule",
    "topology",
    "guard",
    "quant",
    "wire",
    "optimizer",
    "schedule",
)  # after a method's name; int8, int4 and nf4 are codes of W first, then of what travels

OF_ALL = (
    "data",
    "data_dir",
    "target",
    "steps",
    "batch",
    "validate",
    "dtype",
)  # what entries cannot have of their own
OF_LADDER = {  # what a ladder sets itself -> why
    "method": "name methods as entries",
    "seed": "a ladder has seeds of its own: --seeds, --tune-seeds",
    "eval_every": "a ladder evaluates a tenth of the way at a time",
    "save_every": "whole runs are kept, not their steps",
    "measure": "a ladder keeps scores, bytes and memory alone",
    "versus": "name full as an entry",
}


class Entry(NamedTuple):
    """What is compared, beyond the settings that all share."""

    settings: dict[str, Any]  # by their flat names
    own: dict[str, Any]  # place -> a part of the caller's
    grid: dict[str, Sequence[float]]  # knob -> values to tune it over, in the place of the ladder's or beside them


class Entrant(NamedTuple):
    """An entry with all settings but those that are tuned."""

    name: str
    config: Config
    own: dict[str, Any]
    axes: Axes  # knob -> the values that its tuning begins with
    note: str = ""  # what was changed to make it equal
    out: str = ""  # why it cannot take part

    def at(self, point: Point, **settings) -> Config:
        """Its settings at a point of the grid. Raises BadInput."""
        return self.config.replace(**point, **settings)

    def admits(self, point: Point) -> bool:
        """Do its settings take the point?"""
        try:
            self.at(point)
        except BadInput:
            return False
        return True


def entry(words: str = "", *, rule=None, method=None, schedule=None, net=None, grid=None, **settings) -> Entry:
    """An entry of a ladder: a method, with other parts by their names, settings, and parts of one's own as in `ml.fit`.

    `grid` names knobs that are tuned, with the values to begin with; lr and weight_decay are tuned unless they are set.
    Raises BadInput.

    >>> entry("lte+outer+ties", rank=16).settings
    {'method': 'lte', 'merge_rule': 'outer', 'outer_over': 'ties', 'rank': 16}
    """
    if isinstance(method, str):
        settings, method = settings | {"method": method}, None
    own = {"rule": rule, "method": method, "schedule": schedule, "net": net}
    refuse_other_kinds(own)
    own["network"] = own.pop("net")
    chosen = named(words) if words else {}
    return Entry(chosen | settings, {place: thing for place, thing in own.items() if thing is not None}, grid or {})


def named(words: str) -> dict[str, str]:
    """The choices in METHOD+PART+…: of every place after the method the first that knows the name. Raises BadInput."""
    method, *parts = words.split("+")
    known = list(PLACES["method"].names)
    if method not in known:
        raise BadInput(f"method: no method {method!r:.60}{nearest(method, known)}; there are {', '.join(known)}")
    chosen = {"method": method}
    for name in parts:
        free = [place for place in CHOICES if name in PLACES[place].names and PLACES[place].flag not in chosen]
        if not free:
            all_names = {each for place in CHOICES for each in PLACES[place].names}
            raise BadInput(f"{words:.60}: no part {name!r:.60}{nearest(name, sorted(all_names))}; after a method stand a"
                           " merge rule, an optimizer, a topology, a code of weights, a wire")  # fmt: skip
        chosen[PLACES[free[0]].flag] = name
    return chosen


def entrants(entries: dict[str, Entry], shared: dict, axes: Axes) -> list[Entrant]:
    """The entries, each with those of the shared settings that it reads. Raises BadInput."""
    refuse(shared, OF_LADDER)
    made = [entrant(name, each, shared, axes) for name, each in entries.items()]
    for name in shared:
        if not any(name in each.config.flat() for each in made):
            raise BadInput(not_chosen(name))
    return made


def entrant(name: str, of: Entry, shared: dict, axes: Axes) -> Entrant:
    """An entry with all that it reads; what it or the ladder sets is not tuned. Raises BadInput, naming it."""
    try:
        refuse(of.settings, OF_LADDER | {"method": ""} | dict.fromkeys(OF_ALL, "all entries share it"))
        config = Config.reading(shared, **of.settings)
        fixed = shared.keys() | of.settings.keys()
        tuned = {
            knob: list(values) or list(config.method.rates or config.optimizer.rates)
            for knob, values in axes.items()
            if knob in config.flat() and knob not in fixed
        }
        made = Entrant(name, config, of.own, tuned | {knob: rising(knob, values) for knob, values in of.grid.items()})
        for point in ({knob: value} for knob, values in made.axes.items() for value in values):
            made.at(point)
        return made
    except BadInput as trouble:
        raise BadInput(f"{name}: {trouble}") from None


def read_by(entries: Iterable[Entry]) -> set[str]:
    """The names of all settings that some entry reads."""
    return set().union(*(Config(**of.settings).flat() for of in entries))


def refuse(settings: dict, reasons: dict[str, str]) -> None:
    """Raises BadInput for a setting that has no place here; an empty reason lets it pass."""
    for name in settings:
        if reason := reasons.get(name):
            raise BadInput(f"{flag_name(name)}: expected none here: {reason}")


def rising(knob: str, values: Iterable[float]) -> list[float]:
    """The values of an axis, without a repeat, or BadInput."""
    found = sorted(set(values)) if isinstance(values, (list, tuple)) else []
    if not found or not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in found):
        raise BadInput(f"grid of {flag_name(knob)}: expected a list of numbers, got {values!r:.60}")
    return found if all(isinstance(value, int) for value in found) else [float(value) for value in found]
