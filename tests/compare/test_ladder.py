"""A whole ladder: tuned on rows and seeds of its own, measured on all rows, the same twice, and the same as by hand."""

import json
import math

import numpy as np
import pytest

import minilte as ml
from minilte.compare import compare, entry
from minilte.compare import runner as running
from minilte.compare.matching import crossing
from minilte.compare.runner import Runner, Watch
from minilte.compare.side_by_side import Interrupted
from minilte.core.errors import BadInput, DiskTrouble
from minilte.core.lte import MEAN
from minilte.disk import folder
from minilte.methods.fedavg import fedavg
from minilte.settings.config import Config

WORDS = ["full", "lte", "diloco"]
SMALL = dict(widths=(5,), batch=12, heads=3, rank=2, alpha=4.0, steps=6, merge_every=2, dtype="float64")
QUICK = dict(seeds=2, tune_seeds=1, rates=(0.01, 0.02), decays=(0.0,))


def climbed(classes, entries=WORDS, **changes):
    return compare(entries, data=classes, **read(entries) | QUICK | changes)


def read(entries):
    """The settings of the small ladder that some entry reads."""
    configs = [Config(**(entry(of) if isinstance(of, str) else of).settings) for of in of_all(entries)]
    return {name: value for name, value in SMALL.items() if any(name in config.flat() for config in configs)}


def of_all(entries):
    return [word for word in (entries.values() if isinstance(entries, dict) else entries) if word != "lti"]


@pytest.fixture
def asked(monkeypatch):
    """Every run that was asked for, in order."""
    found, call = [], Runner.__call__

    def noted(self, trials):
        found.extend(trials)
        return call(self, trials)

    monkeypatch.setattr(Runner, "__call__", noted)
    return found


def test_tuning_sees_held_out_rows_and_seeds_of_its_own_and_the_measured_runs_see_all_rows(classes, asked):
    found = climbed(classes, tune_seeds=2)
    tuning = [trial for trial in asked if trial.config.validate]
    measuring = [trial for trial in asked if not trial.config.validate]
    assert {trial.config.seed for trial in tuning} == {1000, 1001} and {trial.config.seed for trial in measuring} == {
        0,
        1,
    }
    assert all(len(trial.data.x_valid) == 20 and len(trial.data.x_train) == 100 for trial in tuning)
    assert all(trial.data.x_valid is None and len(trial.data.x_train) == 120 for trial in measuring)
    assert len(measuring) == 2 * len(WORDS) and len(tuning) == 2 * sum(len(row.grid) for row in found.rows)
    assert all(np.array_equal(trial.data.y_test, classes.y_test) for trial in asked)


def test_a_row_is_what_its_settings_give_by_hand(classes):
    found = climbed(classes)
    for row in found.rows:
        scores = []
        for seed in range(2):
            settings = {name: value for name, value in row.settings.items() if name != "data"}
            result = ml.fit(Config(**settings | {"seed": seed}), data=classes)
            scores.append(result.evaluate(classes.x_test, classes.y_test))
        assert row.scores["test_loss"].values == pytest.approx([loss for loss, _ in scores], rel=1e-12)
        assert row.scores["test_accuracy"].values == pytest.approx([right for _, right in scores])


def test_the_best_of_the_grid_is_the_best_on_held_out_rows(classes):
    for row in climbed(classes).rows:
        point, score = min(row.grid, key=lambda tried: tried[1])
        assert row.tuned == point
        config = Config(**{name: value for name, value in row.settings.items() if name != "data"} | {"seed": 1000})
        last = list(ml.rounds(config.replace(validate=1 / 6, eval_every=6), data=classes))[-1]
        assert score == pytest.approx(last.valid_loss, rel=1e-12)


def test_another_criterion_tunes_to_another_score(classes):
    found = climbed(classes, ["lte"], by="train_loss").rows[0]
    config = Config(**{name: value for name, value in found.settings.items() if name != "data"} | {"seed": 1000})
    last = list(ml.rounds(config.replace(validate=1 / 6, eval_every=6), data=classes))[-1]
    assert min(score for _, score in found.grid) == pytest.approx(last.train_loss, rel=1e-12)


def test_the_same_ladder_twice_is_the_same_table_and_makes_no_run_twice(classes, tmp_path, monkeypatch):
    first = climbed(classes, out=tmp_path)
    kept = {file.name: file.read_bytes() for file in (tmp_path / "runs").iterdir()}
    monkeypatch.setattr(running, "measured", lambda trial: pytest.fail("made again"))
    assert climbed(classes, out=tmp_path).plain() == first.plain()
    assert {file.name: file.read_bytes() for file in (tmp_path / "runs").iterdir()} == kept


def test_a_ladder_measured_anew_is_the_same_table(classes):
    assert climbed(classes).plain() == climbed(classes).plain()


def test_what_a_ladder_made_serves_another(classes, tmp_path, asked, monkeypatch):
    climbed(classes, ["full"], out=tmp_path)
    made, call = [], running.measured

    def note(trial):
        (tmp_path / "note").open("a").write(f"{trial.config.method.name}\n")
        return call(trial)

    monkeypatch.setattr(running, "measured", note)
    climbed(classes, ["full", "lte"], out=tmp_path, by="train_loss")
    made = (tmp_path / "note").read_text().split()
    assert "lte" in made
    assert made.count("full") <= len([t for t in asked if t.config.method.name == "full"]) // 2


def test_a_stopped_ladder_goes_on_where_it_was(classes, tmp_path):
    told = []
    with pytest.raises(Interrupted):
        climbed(classes, out=tmp_path, watch=Watch(lambda *of: told.append(of), lambda: 15 * (len(told) >= 3)))
    kept = len(list((tmp_path / "runs").iterdir()))
    assert kept >= 3
    again = []
    found = climbed(classes, out=tmp_path, watch=Watch(lambda *of: again.append(of), lambda: 0))
    assert found.plain() == climbed(classes).plain()
    assert again[-1][0] == len(list((tmp_path / "runs").iterdir())) - kept


def test_a_disk_that_fills_loses_nothing_that_was_measured(classes, tmp_path, monkeypatch):
    write, count = folder.write_json, []

    def some(path, value):
        count.append(path)
        if len(count) > 4:
            raise DiskTrouble("cannot write: no space left")
        write(path, value)

    monkeypatch.setattr(folder, "write_json", some)
    with pytest.raises(DiskTrouble):
        climbed(classes, out=tmp_path)
    assert len(list((tmp_path / "runs").iterdir())) == 4
    monkeypatch.undo()
    assert climbed(classes, out=tmp_path).plain() == climbed(classes).plain()


def test_own_methods_and_rules_stand_beside_the_others(classes):
    def by_hand(task, config):
        return fedavg(task, [1 / config.heads] * config.heads, 2)

    entries = {"fedavg": "fedavg", "by hand": entry(method=by_hand), "mean": entry("lte", rule=MEAN), "lte": "lte"}
    found = compare(entries, data=classes, **{n: v for n, v in (SMALL | QUICK).items() if n != "merge_every"})
    rows = {row.name: row for row in found.rows}
    assert rows["mean"].scores == rows["lte"].scores and rows["mean"].tuned == rows["lte"].tuned
    assert rows["by hand"].scores["test_loss"].mean > 0 and rows["by hand"].bytes > 0


def test_a_method_that_diverges_has_a_row_that_says_so(classes):
    found = climbed(classes, {"full": "full", "wild": entry("full+sgd", lr=1e15)}, dtype="float32", steps=30)
    good, wild = found.rows
    assert (good.name, wild.name) == ("full", "wild") and wild.trouble.startswith("diverged at 2 of 2 seeds: ")
    assert not wild.scores and wild.grid[0][1] == math.inf
    json.dumps(found.plain(), allow_nan=False)


def test_a_regression_has_no_accuracy(numbers):
    found = compare(["full", "lte"], data=numbers, **SMALL | QUICK)
    assert set(found.rows[0].scores) == {"train_loss", "test_loss"} == set(found.rows[1].behind)


def test_a_problem_that_is_drawn_is_another_at_every_seed():
    settings = dict(data="least-squares", inputs=6, outputs=4, samples=64, model="linear", batch=12, heads=2, steps=4)
    found = compare(["full"], **settings, **QUICK)
    first, second = found.rows[0].scores["train_loss"].values
    by_hand = ml.fit(Config(**settings, method="full", lr=found.rows[0].tuned["lr"], seed=1)).records[-1].train_loss
    assert second == by_hand != first


# ---------------------------------------------------------------- samples-to-match


def test_matches_are_the_crossings_of_runs_by_hand(classes):
    found = climbed(classes, ["full", "lte"], match="full", steps=8, rates=(0.02, 0.04))
    (row,) = [each for each in found.rows if each.name == "full"]
    assert {match.score for match in found.matches} == {"train_loss", "test_accuracy"}
    assert all((match.name, match.opponent) == ("lte", "full") for match in found.matches)
    for match in found.matches:
        assert len(match.ratios) == 2 and all(0.25 <= ratio <= 4 for ratio in match.ratios)
        assert match.short == sum(ratio == 4 for ratio in match.ratios) or match.short < 2
    assert row.scores["train_loss"].values


def test_a_run_that_matches_itself_needs_as_many_samples(classes):
    found = climbed(classes, {"a": entry("full"), "b": entry("full")}, match="a", steps=8)
    for match in found.matches:
        assert all(ratio <= 1.0 for ratio in match.ratios)
    assert crossing([3.0, 1.0], [1.0, 2.0], 3.0) == (1.0, -1)


def test_horizons_have_their_whole_schedule_and_are_tuned_again(classes, asked):
    climbed(classes, ["full", "lte"], match="full", steps=8, rates=(0.02, 0.04))
    lte = [trial.config for trial in asked if trial.config.method.name == "lte" and trial.config.steps != 8]
    assert lte and all(config.schedule == asked[0].config.schedule for config in lte)
    steps = {config.steps for config in lte if not config.validate}
    assert steps <= {round(8 * 2 ** (k / 2)) for k in range(-4, 5)}
    assert {config.steps for config in lte if config.validate} <= {4, 16}


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "entries, settings, complaint",
    [
        (WORDS, dict(seeds=1), "seeds: expected a whole number of at least 2, got 1"),
        (WORDS, dict(rates=[0.1, 0.1]), "rates: expected different values"),
        (WORDS, dict(decays=[]), "decays: expected a value, got nothing"),
        (WORDS, dict(by="test_loss"), "by: expected one of valid_loss"),
        (WORDS, dict(match="lti"), "match: expected one of full, lte, diloco"),
        (WORDS, dict(stesp=3), "unknown setting 'stesp', did you mean steps?"),
        (WORDS, dict(seed=3), "seed: expected none here"),
        (["lti"], {}, "method: no method 'lti', did you mean lte?"),
        ([], {}, "methods: expected at least one"),
        (WORDS, dict(rank=99), "lte: rank: expected"),
        (WORDS, dict(validate=200.0), "validate: 200 of 120 training rows"),
        (WORDS, dict(steps=0), "steps: expected at least 1 to compare methods by, got 0"),
        (WORDS, dict(match="full", equal="bytes"), "match: samples to match a score ask for equal samples"),
    ],
)
def test_what_cannot_be_climbed_is_refused_before_any_run(classes, entries, settings, complaint, monkeypatch):
    monkeypatch.setattr(running, "measured", lambda trial: pytest.fail("a run was made"))
    with pytest.raises(BadInput) as trouble:
        climbed(classes, entries, **settings)
    assert complaint in str(trouble.value)


def test_accuracy_of_a_regression_is_no_criterion(numbers):
    with pytest.raises(BadInput, match="^by: a regression has no accuracy"):
        compare(["full"], data=numbers, by="valid_accuracy")


def test_data_cross_the_border_that_all_data_cross(classes):
    as_lists = classes._replace(x_train=classes.x_train.tolist(), y_train=classes.y_train.tolist())
    assert climbed(as_lists, ["full"]).plain() == climbed(classes, ["full"]).plain()
    with pytest.raises(BadInput, match="x_test"):
        climbed(classes._replace(x_test=None, y_test=None), ["full"])


def test_rows_that_the_caller_holds_out_are_for_tuning_alone(classes, asked):
    own = classes._replace(
        x_valid=classes.x_test[:10],
        y_valid=classes.y_test[:10],
        x_test=classes.x_test[10:],
        y_test=classes.y_test[10:],
    )
    found = climbed(own, ["full"])
    for trial in asked:
        held_out = trial.data.x_valid
        assert (held_out is not None and len(held_out) == 10) if trial.config.validate else held_out is None
        assert len(trial.data.x_train) == 120
    assert len(found.rows[0].curve) > 2 and all("test_loss" in point for point in found.rows[0].curve)


def test_whole_numbers_are_tuned_as_whole_numbers(classes):
    found = climbed(classes, {"lte": entry("lte", grid={"merge_every": [1, 2]})})
    tried = {point["merge_every"] for point, _ in found.rows[0].grid}
    assert all(isinstance(value, int) for value in tried) and {1, 2} <= tried


@pytest.mark.parametrize("data", [3, [1, 2], np.zeros(3)])
def test_data_that_are_none_are_refused(data):
    with pytest.raises(BadInput, match="^data: expected a Dataset"):
        compare(WORDS, data=data)


def test_a_data_set_without_a_test_set_is_refused(classes):
    with pytest.raises(BadInput, match="x_test"):
        climbed(classes._replace(x_test=classes.x_test[:0], y_test=classes.y_test[:0]))
