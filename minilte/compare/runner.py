"""Runs that plans ask for: those that are kept are looked up, the others are made side by side and kept."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from minilte.compare.keys import key
from minilte.compare.side_by_side import side_by_side
from minilte.compare.store import Store
from minilte.compare.trial import Outcome, Trial, measured
from minilte.run.machine import cores


class Watch(NamedTuple):
    """How a ladder speaks to its caller, and what the caller asks of it."""

    progress: Callable[[int, int, float], None]  # runs made, runs known to be needed by now, seconds left for these
    wish: Callable[[], int]  # the number of a signal that asked to stop, or 0


SILENT = Watch(lambda done, known, left: None, lambda: 0)


class Runner:
    """Makes whole runs, as many at a time as there are cores. Raises what a run raises, and Interrupted."""

    def __init__(self, store: Store, watch: Watch = SILENT, width: int = 0):
        self.store, self.watch, self.width = store, watch, width or cores()
        self.made, self.known = 0, 0
        self.spent, self.work = 0.0, 0  # seconds of waiting, and steps that were made in them

    def __call__(self, trials: Sequence[Trial]) -> list[Outcome]:
        """The outcomes of runs, in order."""
        keys = [key(trial) for trial in trials]
        new = {name: trial for name, trial in zip(keys, trials) if self.store.get(name) is None}
        self.known += len(new)
        left, begun = sum(trial.config.steps for trial in new.values()), time.perf_counter()
        jobs = [lambda trial=trial: measured(trial) for trial in new.values()]
        names = list(new)
        for number, outcome in side_by_side(jobs, self.width, self.watch.wish):
            trial = new[names[number]]
            self.store.put(names[number], trial.config.flat(), outcome)
            self.made, self.work, left = self.made + 1, self.work + trial.config.steps, left - trial.config.steps
            spent = self.spent + time.perf_counter() - begun
            self.watch.progress(self.made, self.known, left * spent / max(self.work, 1))
        self.spent += time.perf_counter() - begun
        return [self.store.get(name) for name in keys]


def together(plans: dict[str, Generator], run: Callable[[list], list]) -> dict[str, Any]:
    """What each plan returns; the runs that all of them wait for are made together."""
    results, waiting = {}, {}

    def go_on(name: str, plan: Generator, outcomes: list | None) -> None:
        try:
            waiting[name] = plan.send(outcomes)
        except StopIteration as end:
            waiting.pop(name, None)
            results[name] = end.value

    for name, plan in plans.items():
        go_on(name, plan, None)
    while waiting:
        outcomes = iter(run([trial for trials in waiting.values() for trial in trials]))
        for name, trials in list(waiting.items()):
            go_on(name, plans[name], [next(outcomes) for _ in trials])
    return results
