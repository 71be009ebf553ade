"""Training from Python: the three ways in give the same numbers, and parts of one's own take the place of any."""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny

import minilte as ml
from minilte.core import networks
from minilte.core.errors import BadInput
from minilte.core.lte import MEAN, merged
from minilte.core.random import stream
from minilte.core.types import Rule
from minilte.disk.weights import sha256
from minilte.job import checkpoint
from minilte.methods.full import full
from minilte.run.build import build
from minilte.run.own import KINDS

NET = networks.mlp([6, 5, 4], "tanh", loss="squared-error")


def without_clock(records):
    """What is said of a run, without what the clock says and without the state."""
    return [record._replace(seconds=0, state=None) for record in records]


def labelled():
    """Three classes apart by their means."""
    y = np.arange(60) % 3
    x = 2 * np.eye(3)[y] + stream(0, "check").standard_normal((60, 3)) / 25
    return ml.Dataset(x[:48], y[:48], x[48:], y[48:], 3, "made")


OWN = {  # a thing of one's own for each place that takes one
    "data": lambda: labelled(),
    "rule": lambda: Rule(MEAN.init, lambda state, *merge: (merged(*merge), state)),
    "method": lambda: lambda task, config: full(task),
    "schedule": lambda: lambda step: 1e-3 / (1 + step),
    "net": lambda: NET,
}


def settings_for(own, **changes):
    """Those of a tiny run; a method of one's own reads none of the method that it stands for."""
    config = tiny.config(**changes)
    return config.replace(merge_every=10) if "method" in own else config


@pytest.mark.parametrize("kind", ["lte", "full", "mhlora", "norms-without-biases", "fedex"])
def test_rounds_fit_and_a_loaded_run_tell_the_same(tmp_path, kind):
    config = tiny.config(**tiny.KINDS[kind])
    tiny.go_on(tiny.begin(tmp_path / "run", **tiny.KINDS[kind]))
    fitted, loaded = ml.fit(config), ml.load(tmp_path / "run")
    assert without_clock(ml.rounds(config)) == without_clock(fitted.records) == without_clock(loaded.records)
    told = tiny.the_summary(tmp_path / "run")["weights_sha256"]
    assert sha256(fitted.weights) == sha256(loaded.weights) == told
    x = stream(0, "check").standard_normal((5, 6))
    assert np.array_equal(fitted.predict(x), loaded.predict(x))


def test_a_record_holds_the_state_that_the_run_is_in():
    config, states = tiny.config(), []
    for record in ml.rounds(config):
        assert record.state.step == record.step and len(record.state.heads) == 2
        states.append(record.state)
    start, last = states[0].main.weights["layer1"].W, states[-1].main.weights["layer1"].W
    assert not np.array_equal(start, last) and [state.step for state in states] == [0, 2, 4, 6]
    assert np.array_equal(last, ml.fit(config).weights["layer1"].W)
    assert "state" not in repr(record)


def test_a_good_run_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ml.fit(tiny.config())


@pytest.mark.parametrize(("process", "warns"), [("0", 1), ("1", 0)])
def test_a_program_of_several_processes_is_warned_once_that_each_makes_the_whole_run(monkeypatch, process, warns):
    monkeypatch.setenv("PMI_SIZE", "3")
    monkeypatch.setenv("PMI_RANK", process)
    for train in (lambda: ml.fit(tiny.config(steps=0)), lambda: list(ml.rounds(tiny.config(steps=0)))):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            train()
        assert len(said) == warns
        assert all("mpirun started 3 processes, and each makes this whole run" in str(one.message) for one in said)


def test_settings_that_fit_nothing_are_refused_when_the_rounds_begin():
    with pytest.raises(BadInput):
        next(ml.rounds(tiny.config(samples=4)))


def test_the_interface_is_what_the_package_lists():
    assert set(ml.__all__) <= set(dir(ml))
    for name in ml.__all__:
        assert getattr(ml, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'zzz'"):
        ml.zzz


def test_settings_of_numpy_and_paths_are_settings(tmp_path):
    start = ml.fit(tiny.config()).save(tmp_path / "w.safetensors")
    config = tiny.config(
        steps=np.int64(4), lr=np.float64(0.01), shares=np.array([0.75, 0.25]), bias=np.bool_(True), init_from=start
    )
    same = tiny.config(steps=4, lr=0.01, shares=(0.75, 0.25), bias=True, init_from=str(start))
    assert config == same and sha256(ml.fit(config).weights) == sha256(ml.fit(same).weights)
    with pytest.raises(BadInput, match="did you mean steps?"):
        ml.Config(stesp=3)


# ---------------------------------------------------------------- things of one's own


def test_data_of_ones_own_is_trained_on():
    data = labelled()
    result = ml.fit(tiny.config(steps=40, alpha=4.0, lr=0.1), data)
    assert result.evaluate(data.x_test, data.y_test)[1] == 1.0
    assert result.predict(data.x_test).argmax(axis=1).tolist() == data.y_test.tolist()


def test_data_of_ones_own_is_used_as_it_is_and_a_named_set_is_scaled():
    assert np.array_equal(ml.fit(tiny.config(steps=0), labelled()).scaling.mean, np.zeros(3))
    named = ml.fit(ml.Config(data="fashion-mini", model="linear", steps=0, rank=1))
    assert named.scaling.mean[0] > 0 and len(named.scaling.mean) == 784


def test_a_rule_of_ones_own_merges_in_place_of_the_settings():
    counting = Rule(lambda weights: 0, lambda n, *merge: (merged(*merge), n + 1))
    config = tiny.config(dtype="float64")
    same, plain = ml.fit(config, rule=counting), ml.fit(config)
    assert np.array_equal(same.weights["layer1"].W, plain.weights["layer1"].W)
    assert [record.state.main.rule for record in ml.rounds(config, rule=counting)] == [0, 1, 2, 3]
    still = Rule(lambda weights: None, lambda state, weights, *_: (weights, state))
    assert np.array_equal(
        ml.fit(config, rule=still).weights["layer1"].W,
        ml.fit(tiny.config(dtype="float64", steps=0)).weights["layer1"].W,
    )
    assert "held-out loss" in repr(plain) and "\n" not in repr(plain)


def test_a_method_of_ones_own_is_built_of_the_task_and_the_settings():
    seen = []

    def method(task, config):
        seen.append((config.heads, config.rank, len(task.shards)))
        return full(task)

    got, expected = ml.fit(settings_for(["method"]), method=method), ml.fit(tiny.config(method="full"))
    assert sha256(got.weights) == sha256(expected.weights) and seen == [(2, 2, 2)]
    assert without_clock(got.records) == without_clock(expected.records)


def test_a_schedule_of_ones_own_gives_the_rate_of_every_step():
    asked = []

    def schedule(step):
        asked.append(step)
        return 1e-3

    got = ml.fit(tiny.config(schedule="linear"), schedule=schedule)
    expected = ml.fit(tiny.config(schedule="constant", warmup=0.0, lr=1e-3))
    assert sha256(got.weights) == sha256(expected.weights) and set(asked) == set(range(6))
    assert sha256(got.weights) != sha256(ml.fit(tiny.config(schedule="linear")).weights)


def test_a_network_of_ones_own_is_trained_in_place_of_the_settings():
    got = ml.fit(tiny.config(), net=NET)
    assert got.net is NET and list(got.weights) == ["layer1", "layer2"]
    named = ml.fit(tiny.config(model="mlp", widths=(5,), activation="tanh"))
    assert sha256(got.weights) == sha256(named.weights)


@pytest.mark.parametrize("name", KINDS)
def test_a_thing_of_another_kind_is_refused_in_words(name):
    with pytest.raises(BadInput) as caught:
        ml.fit(tiny.config(), **{name: "text"})
    assert str(caught.value) == f"{name}: expected {KINDS[name][0]}, got 'text'"


@pytest.mark.parametrize("field", ["x_train", "y_train", "x_test", "y_test"])
def test_a_dataset_crosses_the_border_of_all_data(field):
    data = labelled()
    lists = data._replace(**{field: getattr(data, field).tolist()})
    config = tiny.config()
    assert sha256(ml.fit(config, lists).weights) == sha256(ml.fit(config, data).weights)
    masked = data._replace(**{field: np.ma.array(getattr(data, field))})
    for train in (ml.fit, lambda *given: list(ml.rounds(*given))):
        with pytest.raises(BadInput, match=f"^data: {field}: a masked array"):
            train(config, masked)
        with pytest.raises(BadInput, match="^data: expected a Dataset .a file: data of Config., got"):
            train(config, tuple(data))


@pytest.mark.parametrize("data", ["own.npz", Path("own.npz"), ["x"], (np.eye(3), [0, 1, 2]), np.ma.array(np.eye(3))])
def test_data_that_are_no_dataset_are_refused_with_the_remedy(data):
    with pytest.raises(BadInput, match="^data: expected a Dataset .a file: data of Config., got"):
        ml.fit(tiny.config(), data)


def test_targets_out_of_scale_are_no_matter_of_the_learning_rate():
    data = labelled()
    huge = data._replace(y_train=data.x_train[:, :1] * 1e20, y_test=data.x_test[:, :1], classes=None)
    with pytest.raises(BadInput, match="made in float32: y_train.* expected at most .*larger unit"):
        ml.fit(tiny.config(), huge)


@pytest.mark.parametrize("changes", [dict(method="full"), dict(method="lora"), dict(method="fedavg")], ids=str)
def test_a_rule_that_the_method_has_no_use_for_is_refused(changes):
    with pytest.raises(BadInput, match=f"^rule: method {changes['method']} takes none, got "):
        ml.fit(tiny.config(**changes), rule=MEAN)


def test_a_rule_is_refused_where_sums_travel_and_auto_does_not_choose_them():
    with pytest.raises(
        BadInput, match="^merge-rule own: needs what every head sends, one by one: --topology allgather"
    ):
        ml.fit(tiny.config(topology="allreduce"), rule=MEAN)
    asked = []
    rule = MEAN._replace(merge=lambda *merge: asked.append(1) or MEAN.merge(*merge))
    many = tiny.config(topology="auto", heads=8, rank=4)  # dense sums would be the fewest bytes
    ml.fit(many, rule=rule)
    assert len(asked) == 3 and build(many).notes[0].startswith("topology allreduce")


@pytest.mark.parametrize("name", KINDS)
def test_rounds_take_what_fit_takes(name):
    own = {name: OWN[name]()}
    config = settings_for(own)
    assert without_clock(ml.rounds(config, **own)) == without_clock(ml.fit(config, **own).records)


# ---------------------------------------------------------------- in a run folder


class Killed(BaseException):
    """The program is gone."""


@pytest.fixture
def command(capsys):
    """A command: what it was asked for -> (exit code, stderr)."""

    def run(name, *words):
        code = importlib.import_module(f"minilte.commands.{name}").main([str(word) for word in words])
        return code, capsys.readouterr().err

    return run


def test_an_empty_path_is_no_folder():
    with pytest.raises(BadInput, match="^out: expected a value, got nothing"):
        ml.fit(tiny.config(), out="")


def test_a_run_in_a_folder_is_the_run_of_the_command(tmp_path, command):
    result = ml.fit(tiny.config(), out=tmp_path / "mine")
    assert command("train", *tiny.flags(), "--quiet", f"--out={tmp_path / 'other'}") == (0, "")
    mine, other = (
        {file.relative_to(top) for file in top.rglob("*")} for top in (tmp_path / "mine", tmp_path / "other")
    )
    assert mine == other and Path("plots/loss.png") in mine and Path("summary.json") in mine
    assert (
        tiny.the_summary(tmp_path / "mine")["weights_sha256"]
        == tiny.the_summary(tmp_path / "other")["weights_sha256"]
    )
    assert (tmp_path / "mine" / "config.json").read_text() == (tmp_path / "other" / "config.json").read_text()
    assert (
        sha256(result.weights) == sha256(ml.load(tmp_path / "mine").weights) == sha256(ml.fit(tiny.config()).weights)
    )
    assert without_clock(result.records) == without_clock(ml.load(tmp_path / "other").records)


@pytest.mark.parametrize("name", [None, *KINDS])
def test_report_export_and_a_second_fit_work_on_a_folder_of_fit(tmp_path, command, name):
    own, path = {name: OWN[name]()} if name else {}, str(tmp_path / "run")
    result = ml.fit(settings_for(own), out=path, **own)
    before = tiny.the_summary(tmp_path / "run")
    again = ml.fit(settings_for(own), out=path, **own)  # it has ended
    assert tiny.the_summary(tmp_path / "run") == before and sha256(again.weights) == sha256(result.weights)
    assert command("report", path, "--out", tmp_path / "page.html") == (0, "")
    assert (tmp_path / "page.html").stat().st_size > 1000
    code, trouble = command("export", path, "--to", "npz", "--out", tmp_path / "out.npz")
    assert (code == 0) == (name != "net")  # a network of one's own is known to the program alone
    if code == 0:
        W = np.load(tmp_path / "out.npz")["layer1.weight"]
        assert np.array_equal(W, result.weights["layer1"].W)
    else:
        assert trouble.startswith("minilte: error: model: this run has one of its own") and trouble.count("\n") == 1


@pytest.mark.parametrize("name", [None, "data"])
def test_a_folder_of_fit_leaves_as_one_lora(tmp_path, command, name):
    own = {name: OWN[name]()} if name else {}
    ml.fit(tiny.config(), out=tmp_path / "run", **own)
    assert command("export", tmp_path / "run", "--to", "peft", "--out", tmp_path / "lora") == (0, "")
    assert (tmp_path / "lora" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("name", [None, *KINDS])
def test_a_run_that_was_killed_goes_on_from_its_checkpoint_when_it_is_fitted_again(
    tmp_path, monkeypatch, command, name
):
    own = {name: OWN[name]()} if name else {}
    config = settings_for(own, steps=12)
    expected = ml.fit(config, **own)
    real = checkpoint.save

    def save(run, state, *given):
        real(run, state, *given)
        if state.step == 4:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, "save", save)
        ml.fit(config, out=tmp_path / "run", **own)
    assert tiny.steps_saved(tmp_path / "run") and not (tmp_path / "run" / "summary.json").exists()
    code, trouble = command("train", "--resume", tmp_path / "run", "--quiet")
    assert code == (2 if name else 0)  # what the program made, it alone can give again
    assert not name or ("this run has one of its own" in trouble and trouble.count("\n") == 1)
    got = ml.fit(config, out=tmp_path / "run", **own)
    assert sha256(got.weights) == sha256(expected.weights)
    assert without_clock(got.records) == without_clock(expected.records)


def test_a_folder_of_another_run_is_refused(tmp_path):
    ml.fit(tiny.config(), out=tmp_path / "run")
    with pytest.raises(BadInput, match="^out .*run: it holds a run of other settings, .*; name another folder"):
        ml.fit(tiny.config(lr=0.5), out=tmp_path / "run")
    with pytest.raises(BadInput, match="it holds a run of other settings"):
        ml.fit(tiny.config(), out=tmp_path / "run", rule=MEAN)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(BadInput, match="^out .*full: expected an empty or new folder"):
        ml.fit(tiny.config(), out=tmp_path / "full")


def test_settings_that_fit_nothing_leave_no_folder(tmp_path):
    with pytest.raises(BadInput):
        ml.fit(tiny.config(samples=4), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
