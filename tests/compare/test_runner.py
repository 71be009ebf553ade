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
