"""The ladder: entries are tuned, then measured at the same seeds, then held beside each other."""

import json
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minilte.compare import matching
from minilte.compare.budgets import equal
from minilte.compare.entrants import Entrant, Entry, entrants, entry
from minilte.compare.matching import Match, match, matched
from minilte.compare.rows import Row, row, side_by_side
from minilte.compare.rules import TUNING, Rules
from minilte.compare.runner import SILENT, Runner, Watch, together
from minilte.compare.sources import Sources
from minilte.compare.store import Store
from minilte.compare.trial import Trial, opened
from minilte.compare.tuning import Tuned, mean_score, neighbours, tuned
from minilte.core.errors import BadInput
from minilte.data.dataset import Dataset
from minilte.run.machine import SAME_BITS, fingerprint
from minilte.run.own import refuse_other_kinds
from minilte.settings.config import all_settings, nearest

HELD_OUT = 1 / 6  # of the training rows, to tune on; of Fashion-MNIST 10,000
EVALUATIONS = 10  # of a measured run
UNTUNED = Tuned({}, float("nan"), [], [])


class Ladder(NamedTuple):
    """What came of it."""

    rules: Rules
    shared: dict[str, Any]  # the settings of a run that were given for all
    rows: list[Row]  # the best first
    matches: list[Match]
    data: dict  # name, rows, sha256
    machine: dict

    def plain(self) -> dict:
        """As plain values; what is infinite stands as null."""
        whole = {
            "rules": vars(self.rules),
            "shared": self.shared,
            "data": self.data,
            "machine": self.machine,
            "rows": [of_row(each) for each in self.rows],
            "matches": [each._asdict() for each in self.matches],
        }
        return json.loads(json.dumps(whole), parse_constant=lambda name: None)


def of_row(each: Row) -> dict:
    """A row as plain values."""
    spreads = {
        part: {name: of._asdict() for name, of in getattr(each, part).items()} for part in ("scores", "behind")
    }
    return each._asdict() | spreads


def compare(
    entries: Sequence[str] | dict[str, str | Entry],
    data: Dataset | str | None = None,
    out: str | Path | None = None,
    watch: Watch = SILENT,
    **settings,
) -> Ladder:
    """Tune and measure the entries; settings are those of `Rules`, and those of a run that all share.

    `data` is a name or a path, as in `Config`, or a Dataset. `out` is a folder that keeps every whole run, in runs/: with
    it nothing is measured twice. Raises BadInput, DiskTrouble.
    """
    ready = planned(entries, data, **settings)
    return ready.ladder(Runner(Store(out and Path(out)), watch))


def planned(
    entries: Sequence[str] | dict[str, str | Entry], data: Dataset | str | None = None, **settings
) -> "Climb":
    """The ladder that `compare` climbs, once every run of it can begin. Raises BadInput."""
    if isinstance(data, (str, os.PathLike)):
        data, settings["data"] = None, data
    refuse_other_kinds({"data": data})
    known = list(Rules.__dataclass_fields__)
    if unknown := [name for name in settings if name not in known and name not in all_settings()]:
        raise BadInput(f"unknown setting {unknown[0]!r:.60}{nearest(unknown[0], [*known, *all_settings()])}")
    rules = Rules(**{name: settings.pop(name) for name in known if name in settings})
    named = entries if isinstance(entries, dict) else {words: words for words in entries}
    made = {name: each if isinstance(each, Entry) else entry(each) for name, each in named.items()}
    if not made:
        raise BadInput("methods: expected at least one to compare, got none")
    if rules.match and rules.equal != "samples":
        raise BadInput(
            f"match: samples to match a score ask for equal samples, got equal {rules.equal}; leave one out"
        )
    if rules.match and rules.match not in made:
        raise BadInput(f"match: expected one of {', '.join(made)}, got {rules.match!r:.60}")
    return Climb(rules, settings, made, data)


class Climb:
    """A ladder that can be climbed: its rules, its entrants, its data."""

    def __init__(self, rules: Rules, shared: dict, entries: dict[str, Entry], data: Dataset | None):
        self.rules, self.shared, self.sources = rules, shared, Sources(data)
        made = entrants(entries, shared, rules.axes)
        self.read, self.source = self.sources.raw(made[0].config)
        if rules.by == "valid_accuracy" and self.read.classes is None:
            raise BadInput("by: a regression has no accuracy, got valid_accuracy; use valid_loss")
        self.entrants = equal(made, rules.equal, self.read)
        for each in self.entrants:
            self.admit(each)

    def trial(self, entrant: Entrant, point: dict, seed: int, **settings) -> Trial:
        """A run of an entrant at a point of its grid."""
        config = entrant.at(point, seed=seed, **settings)
        return Trial(config, *self.sources.of(config), entrant.own)

    def tries(self, entrant: Entrant, point: dict, **settings) -> list[Trial]:
        """The runs that a point of a grid is judged by: on held-out rows, evaluated at their end."""
        steps = settings.get("steps", entrant.config.steps)
        settings = dict(validate=entrant.config.validate or HELD_OUT, eval_every=steps) | settings
        return [self.trial(entrant, point, TUNING + k, **settings) for k in range(self.rules.tune_seeds)]

    def measures(self, entrant: Entrant, point: dict, **settings) -> list[Trial]:
        """The runs that are measured, on all training rows."""
        steps = settings.get("steps", entrant.config.steps)
        settings = dict(validate=0.0, eval_every=max(1, steps // EVALUATIONS)) | settings
        return [self.trial(entrant, point, seed, **settings) for seed in range(self.rules.seeds)]

    def tune(self, entrant: Entrant, axes: dict, **settings) -> Generator[list, list, Tuned]:
        """A plan for the best point of a grid."""
        if not axes:
            return UNTUNED
        number = mean_score(self.rules.by)
        return (
            yield from tuned(axes, lambda point: (self.tries(entrant, point, **settings), number), entrant.admits)
        )

    def climb(self, entrant: Entrant) -> Generator[list, list, tuple[Tuned, list]]:
        """A plan for (what it is best at, its outcomes there)."""
        if entrant.out:
            return UNTUNED, []
        found = yield from self.tune(entrant, entrant.axes)
        return found, (yield self.measures(entrant, found.best))

    def admit(self, entrant: Entrant) -> None:
        """Raises BadInput, before anything is measured, for an entrant that cannot run; who is out need not."""
        if entrant.out:
            return
        if not entrant.config.steps:
            raise BadInput("steps: expected at least 1 to compare methods by, got 0")
        try:
            opened(self.trial(entrant, {name: values[0] for name, values in entrant.axes.items()}, 0, validate=0.0))
        except BadInput as trouble:
            raise BadInput(f"{entrant.name}: {trouble}") from None

    def ladder(self, run: Runner) -> Ladder:
        """The whole of it, by what makes runs, or has them."""
        climbed = together({each.name: self.climb(each) for each in self.entrants}, run)
        rows = side_by_side([row(each, *climbed[each.name]) for each in self.entrants], self.rules.by)
        data = {"name": self.read.name, "rows": len(self.read.x_train), "sha256": self.source}
        machine = {name: value for name, value in fingerprint(1, "Solo").items() if name in (*SAME_BITS, "cores")}
        return Ladder(self.rules, self.shared, rows, self.matches(climbed, run), data, machine)

    def matches(self, climbed: dict[str, tuple[Tuned, list]], run: Runner) -> list[Match]:
        """How many samples the others need to reach what the opponent reaches; none where none was named."""
        goal = climbed.get(self.rules.match, (None, []))[1]
        if not goal or any(outcome.diverged for outcome in goal):
            return []
        names = [name for name in matching.FIELDS if goal[0].points[-1][name] is not None][:2]
        targets = {name: [outcome.score(name) for outcome in goal] for name in names}
        others = {each.name: each for each in self.entrants if each.name != self.rules.match and not each.out}
        plans = {name: self.reach(each, *climbed[name], targets) for name, each in others.items()}
        found = together(plans, run)
        return [
            match(name, self.rules.match, score, found[name][score], targets[score])
            for name in others
            for score in names
        ]

    def reach(self, entrant: Entrant, found: Tuned, outcomes: list, targets: dict) -> Generator:
        """A plan for the scores of an entrant at other horizons."""
        S = entrant.config.steps
        at = lambda horizon: max(1, round(horizon * S))  # noqa: E731

        def trained(horizon: float, best: dict) -> tuple[float, list]:
            return at(horizon) / S, self.measures(entrant, best, steps=at(horizon))

        def retuned(horizon: float) -> Generator:
            return (yield from self.tune(entrant, around(found), steps=at(horizon))).best

        return (yield from matched(targets, outcomes, trained, retuned))


def around(found: Tuned) -> dict[str, list[float]]:
    """The best value of every axis with its neighbours: a grid to tune again on."""
    values = {name: sorted({point[name] for point, _ in found.grid}) for name in found.best}
    return {name: list(neighbours(values[name], best)) for name, best in found.best.items()}
