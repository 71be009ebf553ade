"""Plans share the processes; a run that is kept is never made again; time left is told."""

import pytest

from minilte.compare import runner as module
from minilte.compare.runner import Runner, Watch, together
from minilte.compare.sources import Sources
from minilte.compare.store import Store
from minilte.compare.trial import Trial
from minilte.settings.config import Config

SETTINGS = dict(method="full", widths=(4,), batch=12, heads=2, steps=2)


def trials(classes, *rates):
    configs = [Config(**SETTINGS, lr=lr) for lr in rates]
    return [Trial(config, *Sources(classes).of(config)) for config in configs]


def test_outcomes_come_in_the_order_that_was_asked_for_and_twice_where_asked_twice(classes):
    found = Runner(Store(None))(trials(classes, 0.1, 0.2, 0.1))
    assert found[0] == found[2] != found[1]


def test_what_is_kept_is_not_made_again(classes, tmp_path, monkeypatch):
    asked = trials(classes, 0.1, 0.2)
    first = Runner(Store(tmp_path))(asked)
    monkeypatch.setattr(module, "measured", lambda trial: pytest.fail("made again"))
    assert Runner(Store(tmp_path))(asked) == first


def test_progress_counts_runs_that_are_made_and_the_time_left_ends_at_zero(classes, tmp_path):
    told = []
    run = Runner(Store(tmp_path), Watch(lambda *of: told.append(of), lambda: 0))
    run(trials(classes, 0.1, 0.2))
    run(trials(classes, 0.1, 0.3, 0.4))
    assert [(made, known) for made, known, _ in told] == [(1, 2), (2, 2), (3, 4), (4, 4)]
    assert told[0][2] > 0 and told[1][2] == told[3][2] == 0


def test_the_time_left_is_that_of_all_steps_so_far(classes, monkeypatch):
    """Runs of 2 steps that take 8 seconds each, a round of one after the other: 4 seconds a step, from the first to the last."""
    clock, told = iter(range(0, 10_000, 8)), []
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(module, "measured", lambda trial: None)
    monkeypatch.setattr(module, "side_by_side", lambda jobs, width, wish: ((n, job()) for n, job in enumerate(jobs)))
    run = Runner(Store(None), Watch(lambda *of: told.append(of), lambda: 0), 1)
    run.store = type("Never", (), {"get": lambda self, name: None, "put": lambda self, *of: None})()
    rates = iter(range(1, 100))
    for _ in range(4):
        run(trials(classes, *(next(rates) / 1000 for _ in range(3))))
    expected = []
    for made in range(12):
        spent = 8 * (made + 1 + made // 3)  # the clock is read once more at the end of a round
        expected.append((made + 1, 3 * (made // 3 + 1), pytest.approx((2 - made % 3) * 2 * spent / (2 * (made + 1)))))
    assert told == expected


def test_plans_get_what_they_ask_for_and_ask_together():
    asked = []

    def run(items):
        asked.append(list(items))
        return [10 * item for item in items]

    def plan(*rounds):
        got = []
        for items in rounds:
            got.append((yield list(items)))
        return got

    found = together({"a": plan((1, 2), (3,)), "b": plan((4,)), "c": plan(), "d": plan((), (5,))}, run)
    assert found == {"a": [[10, 20], [30]], "b": [[40]], "c": [], "d": [[], [50]]}
    assert asked == [[1, 2, 4], [3, 5]]
