"""The rows of a ladder: what came of every entry at the measured seeds, who is ahead, and by more than chance or not."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from minilte.compare.trial import Outcome
from minilte.measure.interval import interval

FIELDS = ("train_loss", "test_loss", "test_accuracy")  # the scores of a row
LEADS = {
    "valid_loss": "test_loss",
    "valid_accuracy": "test_accuracy",
    "train_loss": "train_loss",
}  # criterion -> order


class Spread(NamedTuple):
    """A number at every seed, its mean, and the interval of the mean."""

    values: tuple[float, ...]
    mean: float
    low: float
    high: float


class Row(NamedTuple):
    """An entry on the ladder."""

    name: str
    settings: dict[str, Any]  # those that are not at their defaults, the tuned ones among them
    tuned: dict[str, float]  # knob -> its value
    grid: list  # (point, score) of all that was tried
    edges: list[str]
    note: str
    steps: int
    samples: int
    bytes: float  # over all processes with a head on each, the mean over seeds
    link_bytes: float  # of those, through the busiest link
    memory: float  # bytes of a worker
    scores: dict[str, Spread]  # none where it diverged, or could not take part
    behind: dict[str, Spread]  # how far behind the leader at the same seeds, in each score; the leader's are 0
    curve: list[dict]  # means over seeds at every evaluation
    frontier: bool = False  # no other is as good in loss, bytes and memory, and better in one
    trouble: str = ""  # why there are no scores


def spread(values: Sequence[float]) -> Spread:
    """The numbers with the interval of their mean."""
    return Spread(tuple(values), statistics.fmean(values), *interval(values))


def row(entrant, found, outcomes: Sequence[Outcome]) -> Row:
    """The row of an entry whose runs are done, not yet beside the others."""
    config = entrant.at(found.best)
    bad = [outcome for outcome in outcomes if outcome.diverged]
    trouble = entrant.out or (f"diverged at {len(bad)} of {len(outcomes)} seeds: {bad[0].diverged}" if bad else "")
    good = [] if trouble else outcomes
    last = [outcome.points[-1] for outcome in good]
    kinds = [name for name in FIELDS if last and last[0][name] is not None]
    mean = lambda values: statistics.fmean(values) if last else 0.0  # noqa: E731
    return Row(
        name=entrant.name,
        settings=config.own(),
        tuned=found.best,
        grid=found.grid,
        edges=found.edges,
        note=entrant.note,
        steps=config.steps,
        samples=config.steps * config.batch,
        bytes=mean([point["bytes"] for point in last]),
        link_bytes=mean([point["link_bytes"] for point in last]),
        memory=mean([outcome.memory for outcome in good]),
        scores={name: spread([point[name] for point in last]) for name in kinds},
        behind={},
        curve=[averaged(points) for points in zip(*(outcome.points for outcome in good))],
        trouble=trouble,
    )


def averaged(points: Sequence[dict]) -> dict:
    """An evaluation as the mean over seeds."""
    names = [name for name, value in points[0].items() if value is not None]
    return {name: statistics.fmean(point[name] for point in points) for name in names}


def side_by_side(rows: Sequence[Row], criterion: str) -> list[Row]:
    """The rows with how far each is behind, and those on the frontier marked; the best in what was tuned first."""
    good = [each for each in rows if each.scores]
    names = [name for name in FIELDS if good and name in good[0].scores]
    leaders = {name: min(good, key=lambda each: badness(each, name)) for name in names}
    rows = [
        each._replace(behind={name: behind(each, leaders[name], name) for name in names}, frontier=ahead(each, good))
        if each.scores
        else each
        for each in rows
    ]
    order = LEADS[criterion] if LEADS[criterion] in names else "test_loss"
    return sorted(rows, key=lambda each: badness(each, order) if each.scores else float("inf"))


def badness(of: Row, name: str) -> float:
    """The mean of a score, the less the better."""
    return -of.scores[name].mean if name.endswith("accuracy") else of.scores[name].mean


def behind(of: Row, leader: Row, name: str) -> Spread:
    """How far a row is behind the leader at every seed, both on the same samples: the interval of a paired test."""
    sign = -1 if name.endswith("accuracy") else 1
    return spread([sign * (a - b) for a, b in zip(of.scores[name].values, leader.scores[name].values)])


def ahead(of: Row, good: Sequence[Row]) -> bool:
    """Is no other row at least as good in test loss, bytes and memory, and better in one of them?"""
    price = lambda each: (each.scores["test_loss"].mean, each.bytes, each.memory)  # noqa: E731
    mine = price(of)
    return not any(all(a <= b for a, b in zip(price(each), mine)) and price(each) != mine for each in good)
