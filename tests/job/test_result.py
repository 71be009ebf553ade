"""A trained network, from memory or from its run folder: predictions, scores, files."""

import json

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

import minilte as ml
from minilte.core import networks
from minilte.core.errors import BadInput, DiskTrouble
from minilte.core.random import stream
from minilte.disk.weights import sha256


@pytest.fixture
def run(tmp_path):
    """A finished run."""
    path = tiny.begin(tmp_path / "run")
    tiny.go_on(path)
    return path


def labelled():
    """Three classes apart by their means, in a unit far from 1."""
    y = np.arange(60) % 3
    x = 1000 + 50 * np.eye(3)[y] + stream(0, "check").standard_normal((60, 3))
    return ml.Dataset(x[:48], y[:48], x[48:], y[48:], 3, "made")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_evaluation_of_the_test_set_is_that_of_the_last_record(dtype):
    session = tiny.session(dtype=dtype)
    result = ml.fit(session.config)
    data = session.built.data
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


@pytest.mark.parametrize("x", [np.zeros(6), np.zeros((2, 5)), np.zeros(()), [[1, 2]]], ids=str)
def test_inputs_of_another_width_are_refused(x):
    with pytest.raises(BadInput, match="x: expected rows of 6 numbers, got .* of shape"):
        ml.fit(tiny.config(steps=0)).predict(x)


@pytest.mark.parametrize("x", [np.full((1, 6), "a"), np.full((1, 6), None)], ids=["text", "objects"])
def test_inputs_that_are_no_numbers_are_refused(x):
    with pytest.raises(BadInput, match="x: expected rows of 6 numbers, got (<U1|object)"):
        ml.fit(tiny.config(steps=0)).predict(x)


@pytest.mark.parametrize("y", [np.zeros((2, 3)), np.zeros((3, 4)), np.zeros(2), [["a"] * 4] * 2], ids=str)
def test_targets_of_another_shape_or_kind_are_refused(y):
    with pytest.raises(BadInput, match="^y: expected rows of 4 numbers of x, got .* of shape"):
        ml.fit(tiny.config(steps=0)).evaluate(np.zeros((2, 6)), y)


@pytest.mark.parametrize("y", [[0, 3], [0, -1], [0.0, 1.0], [0], [[0], [1]], ["a", "b"]], ids=str)
def test_labels_that_none_of_the_classes_has_are_refused(y):
    with pytest.raises(BadInput, match="^y: expected a label of 0 to 2 for each row of x, got .* of shape"):
        ml.fit(tiny.config(steps=0), labelled()).evaluate(np.zeros((2, 3)), y)


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


def test_settings_of_a_result_are_those_asked_for(run):
    assert ml.load(run).config == tiny.config()
    assert json.loads(json.dumps(ml.load(run).config.flat()))["heads"] == 2


def test_a_result_is_saved_as_its_run_folder_would_hold_it(run, tmp_path):
    result = ml.load(run)
    assert result.save(str(tmp_path / "mine.safetensors")) == tmp_path / "mine.safetensors"
    assert (tmp_path / "mine.safetensors").read_bytes() == (run / "final.safetensors").read_bytes()
    assert list(load_file(tmp_path / "mine.safetensors")) == list(load_file(run / "final.safetensors"))
    with pytest.raises(DiskTrouble, match="cannot write .*missing/mine.safetensors"):
        result.save(tmp_path / "missing" / "mine.safetensors")


def test_what_was_saved_is_where_another_run_can_start(tmp_path):
    result = ml.fit(tiny.config())
    start = result.save(tmp_path / "mine.safetensors")
    assert sha256(ml.fit(tiny.config(init_from=start, steps=0)).weights) == sha256(result.weights)


def test_a_score_is_that_of_the_predictions():
    raw = labelled()
    result = ml.fit(tiny.config(steps=4, alpha=4.0), raw)
    loss, accuracy = result.evaluate(raw.x_test, raw.y_test.tolist())  # a list is as good
    assert accuracy == np.mean(result.predict(raw.x_test).argmax(axis=1) == raw.y_test)
    z = result.predict(raw.x_test).astype(float)
    expected = np.mean(
        np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)) + z.max(axis=1) - z[np.arange(12), raw.y_test]
    )
    assert loss == pytest.approx(expected, rel=1e-5)  # float32


def test_a_result_reads_in_one_line_without_its_arrays():
    result = ml.fit(tiny.config())
    assert (
        repr(result)
        == f"Result(lte on least-squares, layer1, held-out loss {result.records[-1].test_loss:.4f} at step 6)"
    )


def test_a_network_of_ones_own_is_given_again_where_its_run_is_loaded(tmp_path):
    net = networks.mlp([6, 5, 4], "tanh", loss="squared-error")
    fitted = ml.fit(tiny.config(), net=net, out=tmp_path / "run")
    with pytest.raises(BadInput, match="^model: this run has one of its own"):
        ml.load(tmp_path / "run")
    loaded = ml.load(tmp_path / "run", net)
    assert sha256(loaded.weights) == sha256(fitted.weights)
    x = stream(0, "check").standard_normal((5, 6))
    assert np.array_equal(loaded.predict(x), fitted.predict(x))
    with pytest.raises(BadInput, match="final.safetensors: layer1.weight has shape"):
        ml.load(tmp_path / "run", networks.mlp([6, 3, 4], "tanh"))
