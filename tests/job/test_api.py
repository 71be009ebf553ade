"""Training from Python: the three ways in give the same numbers."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

import minilte as ml
from minilte.core.errors import BadInput
from minilte.core.merge import MEAN, merged
from minilte.core.random import stream
from minilte.core.types import Rule
from minilte.job import job
from minilte.disk.weights import sha256


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run."""
    monkeypatch.setattr(job, "pictures", lambda *_: None)
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path)
    return path


def without_clock(records):
    return [record._replace(seconds=0) for record in records]


def labelled():
    """Three classes apart by their means, in a unit far from 1."""
    y = np.arange(60) % 3
    x = 1000 + 50 * np.eye(3)[y] + stream(0, "check").standard_normal((60, 3))
    return ml.Dataset(x[:48], y[:48], x[48:], y[48:], 3, "made")


@pytest.mark.parametrize("kind", ["lte", "full", "mhlora", "norms-without-biases"])
def test_rounds_fit_and_a_loaded_run_tell_the_same(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(job, "pictures", lambda *_: None)
    config = tiny.config(**tiny.KINDS[kind])
    tiny.go_on(tiny.begin(tmp_path / "run", **tiny.KINDS[kind]))
    fitted, loaded = ml.fit(config), ml.load(tmp_path / "run")
    assert without_clock(ml.rounds(config)) == without_clock(fitted.records) == without_clock(loaded.records)
    told = tiny.the_summary(tmp_path / "run")["weights_sha256"]
    assert sha256(fitted.weights) == sha256(loaded.weights) == told
    x = stream(0, "check").standard_normal((5, 6))
    assert np.array_equal(fitted.predict(x), loaded.predict(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_evaluation_of_the_test_set_is_that_of_the_last_record(dtype):
    session = tiny.session(dtype=dtype)
    result = ml.fit(session.config)
    data = session.parts.data
    assert result.evaluate(data.x_test, data.y_test) == result.records[-1][5:7]


def test_predictions_are_in_the_dtype_of_the_run_for_any_leading_axes():
    result = ml.fit(tiny.config())
    x = stream(0, "check").standard_normal((2, 3, 6))
    assert result.predict(x).shape == (2, 3, 4) and result.predict(x).dtype == np.float32
    # 1e-5: float32; products of other shapes add in another order
    np.testing.assert_allclose(result.predict(x)[1], result.predict(x[1]), atol=1e-5)


def test_inputs_are_scaled_as_those_of_training_were():
    raw = labelled()
    from_array = ml.fit(tiny.config(steps=0), raw)
    assert np.array_equal(from_array.scaling.mean, np.zeros(3))  # data passed in is used as it is
    named = ml.fit(ml.Config(data="fashion-mini", model="linear", steps=0, rank=1))
    assert named.scaling.mean[0] > 0 and len(named.scaling.mean) == 784


def test_data_of_ones_own_is_trained_on():
    data = labelled()
    data = data._replace(x_train=(data.x_train - 1000) / 25, x_test=(data.x_test - 1000) / 25)
    result = ml.fit(tiny.config(steps=40, alpha=4.0, lr=0.1), data)
    assert result.evaluate(data.x_test, data.y_test)[1] == 1.0
    assert result.predict(data.x_test).argmax(axis=1).tolist() == data.y_test.tolist()


@pytest.mark.parametrize("x", [np.zeros(6), np.zeros((2, 5)), np.zeros(()), [[1, 2]]], ids=str)
def test_inputs_of_another_width_are_refused(x):
    with pytest.raises(BadInput, match="x: expected rows of 6 numbers, got .* of shape"):
        ml.fit(tiny.config(steps=0)).predict(x)


@pytest.mark.parametrize("x", [np.full((1, 6), "a"), np.full((1, 6), None)], ids=["text", "objects"])
def test_inputs_that_are_no_numbers_are_refused(x):
    with pytest.raises(BadInput, match="x: expected rows of 6 numbers, got (<U1|object)"):
        ml.fit(tiny.config(steps=0)).predict(x)


@pytest.mark.parametrize("file", ["config.json", "summary.json", "final.safetensors"])
def test_a_file_that_a_run_folder_lacks_is_named(run, file):
    (run / file).unlink()
    with pytest.raises(BadInput, match=file):
        ml.load(run)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{}x"),
        ("config.json", "[]"),
        ("config.json", '{"zzz": 1}'),
        ("summary.json", "{"),
        ("summary.json", "[]"),
        ("summary.json", "{}"),
        ("final.safetensors", "text"),
        ("metrics.jsonl", "text\n"),
        ("metrics.jsonl", "{}\n"),
    ],
)
def test_a_file_that_is_damaged_is_refused_in_one_line(run, file, content):
    (run / file).write_text(content)
    with pytest.raises(BadInput) as caught:
        ml.load(run)
    assert file in str(caught.value) and "\n" not in str(caught.value)


def test_weights_without_their_scaling_are_refused(run):
    tensors = load_file(run / "final.safetensors")
    del tensors["input.mean"]
    save_file(tensors, run / "final.safetensors")
    with pytest.raises(BadInput, match="input.mean"):
        ml.load(run)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(BadInput, match="nowhere: no such folder"):
        ml.load(tmp_path / "nowhere")


def test_settings_that_fit_nothing_are_refused_when_the_rounds_begin():
    with pytest.raises(BadInput):
        next(ml.rounds(tiny.config(samples=4)))


def test_the_interface_is_what_the_package_lists():
    assert set(ml.__all__) <= set(dir(ml))
    for name in ml.__all__:
        assert getattr(ml, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'zzz'"):
        ml.zzz


def test_a_good_run_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ml.fit(tiny.config())


def test_settings_of_a_result_are_those_asked_for(run):
    assert ml.load(run).config == tiny.config()
    assert json.loads(json.dumps(dataclasses.asdict(ml.load(run).config)))["heads"] == 2


def test_a_rule_of_ones_own_merges_in_place_of_the_settings():
    half = Rule(lambda weights: 0, lambda n, *merge: (merged(*merge), n + 1))
    config = tiny.config(dtype="float64")
    same, plain = ml.fit(config, rule=half), ml.fit(config)
    assert np.array_equal(same.weights["layer1"].W, plain.weights["layer1"].W)
    still = Rule(lambda weights: None, lambda state, weights, *_: (weights, state))
    assert np.array_equal(
        ml.fit(config, rule=still).weights["layer1"].W,
        ml.fit(tiny.config(dtype="float64", steps=0)).weights["layer1"].W,
    )
    assert "held-out loss" in repr(plain) and "\n" not in repr(plain)


@pytest.mark.parametrize("changes", [dict(method="full"), dict(topology="allreduce"), dict(merge_rule="telescope")])
def test_a_rule_that_the_settings_have_no_use_for_is_refused(changes):
    with pytest.raises(BadInput, match="rule: expected lte"):
        ml.fit(tiny.config(**changes), rule=MEAN)
    with pytest.raises(BadInput, match="rule: expected a Rule"):
        ml.fit(tiny.config(), rule=merged)
