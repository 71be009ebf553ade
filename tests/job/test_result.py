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
    with pytest.raises(BadInput, match="x: expected rows of 6 numbers, got <U1|x has dtype object, expected numbers"):
        ml.fit(tiny.config(steps=0)).predict(x)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.full((2, 6), np.nan), r"x\[0, 0\] is nan, expected a finite number"),
        (np.full((2, 6), 1e300), r"x in float32\[0, 0\] is inf"),
        (np.full((2, 6), 1e30), r"x in float32\[0, 0\] is 1e\+30, expected at most"),
        (np.ma.masked_equal(np.zeros((2, 6)), 0), "x: a masked array"),
        ([[1.0], [1.0, 2.0]], "x: no array"),
        (np.ones((2, 6)) * 1j, "x has dtype complex128"),
    ],
    ids=["nan", "beyond the dtype", "beyond its squares", "masked", "ragged", "complex"],
)
def test_inputs_that_no_loader_takes_are_refused_alike_by_all_that_take_inputs(x, words):
    result = ml.fit(tiny.config(steps=0), labelled()._replace(x_train=np.ones((48, 6)), x_test=np.ones((12, 6))))
    for ask in (result.predict, result.classify, lambda x: result.evaluate(x, [0, 1])):
        with pytest.raises(BadInput, match=words):
            ask(x)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros((2, 3)), "y is float64 of shape .2, 3., expected rows of 4 numbers"),
        (np.zeros((3, 4)), "y: expected 2 rows, as many as x has, got float64 of shape .3, 4."),
        (np.zeros((0, 4)), "y: expected 2 rows"),
        (np.zeros(2), "y is float64 of shape .2,., expected rows of 4 numbers"),
        (3.0, "y: expected 2 rows"),
        ([["a"] * 4] * 2, "y is <U1 of shape .2, 4., expected rows of 4 numbers"),
        (np.full((2, 4), np.inf), r"y\[0, 0\] is inf"),
        (np.ma.masked_equal(np.zeros((2, 4)), 0), "y: a masked array"),
    ],
    ids=str,
)
def test_targets_of_another_shape_or_kind_are_refused(y, words):
    with pytest.raises(BadInput, match=words):
        ml.fit(tiny.config(steps=0)).evaluate(np.zeros((2, 6)), y)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([0, 3], r"y\[1\]: label 3, expected 0 to 2"),
        ([0, -1], r"y\[1\]: label -1, expected 0 to 2"),
        ([0.0, 1.0], "y is float64 of shape .2,., expected a label for each row, of 0 to 2"),
        ([[1, 0, 0], [0, 1, 0]], "y is int64 of shape .2, 3., expected a label for each row, .*argmax"),
        ([0], "y: expected 2 rows, as many as x has"),
        ([], "y: expected 2 rows, as many as x has"),
        (["a", "b"], r"y\[0\]: label 'a', expected 0 to 2"),
        ([None, 1], "y has dtype object"),
    ],
    ids=str,
)
def test_labels_that_none_of_the_classes_has_are_refused(y, words):
    with pytest.raises(BadInput, match=words):
        ml.fit(tiny.config(steps=0), labelled()).evaluate(np.zeros((2, 3)), y)


def test_no_rows_are_no_evaluation_and_no_prediction():
    result = ml.fit(tiny.config(steps=0), labelled())
    assert result.predict(np.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(BadInput, match="y: expected some rows"):
        result.evaluate(np.zeros((0, 3)), [])


def test_labels_in_a_column_and_bools_are_labels_as_in_a_file():
    raw = labelled()
    result = ml.fit(tiny.config(steps=2), raw)
    expected = result.evaluate(raw.x_test, raw.y_test)
    assert result.evaluate(raw.x_test, raw.y_test[:, None]) == expected
    two = raw.y_test < 2
    assert result.evaluate(raw.x_test[two], raw.y_test[two] > 0) == result.evaluate(raw.x_test[two], raw.y_test[two])


def test_targets_of_one_output_need_no_second_axis():
    raw = labelled()
    real = raw._replace(y_train=raw.x_train[:, 0], y_test=raw.x_test[:, 0], classes=None)
    result = ml.fit(tiny.config(rank=1), real)
    assert result.evaluate(raw.x_test, raw.x_test[:, 0]) == result.evaluate(raw.x_test, raw.x_test[:, :1])
    assert result.evaluate(raw.x_test, raw.x_test[:, 0])[0] == result.records[-1].test_loss


# ---------------------------------------------------------------- the labels of the data


@pytest.fixture
def animals(tmp_path):
    """A file of images, three classes in words apart by their means."""
    y, draw = np.arange(90) % 3, stream(0, "check")
    x = 100 * np.eye(4)[y] + draw.standard_normal((90, 4))
    np.savez(tmp_path / "animals.npz", images=x.reshape(90, 2, 2), labels=np.array(["eel", "cat", "dog"])[y])
    return str(tmp_path / "animals.npz"), x.reshape(90, 2, 2), np.array(["eel", "cat", "dog"])[y]


def test_a_result_speaks_the_labels_of_the_file_from_memory_and_from_its_folder(tmp_path, animals):
    path, x, words = animals
    fitted = ml.fit(tiny.config(data=path, steps=200, lr=0.1, alpha=4.0), out=tmp_path / "run")
    assert fitted.records[-1].test_accuracy == 1.0
    for result in (fitted, ml.load(tmp_path / "run"), ml.fit(fitted.config)):
        assert result.classes == ("cat", "dog", "eel")
        assert result.classify(x).tolist() == words.tolist()
        assert result.predict(x).shape == (90, 3)
        assert result.evaluate(x, words)[1] == 1.0 and result.evaluate(x, np.roll(words, 1))[1] == 0.0
    with pytest.raises(BadInput, match=r"y\[0\]: label 0, expected 'cat', 'dog', 'eel'"):
        fitted.evaluate(x, np.arange(90) % 3)


def test_classes_are_numbers_from_0_where_the_data_have_no_other_labels():
    raw = labelled()
    result = ml.fit(tiny.config(steps=40, alpha=4.0, lr=0.1), raw)
    assert result.classes == (0, 1, 2)
    assert np.array_equal(result.classify(raw.x_test), result.predict(raw.x_test).argmax(axis=1))


def test_a_regression_has_no_classes():
    result = ml.fit(tiny.config(steps=0))
    assert result.classes is None
    with pytest.raises(BadInput, match="^classify: a regression has no classes"):
        result.classify(np.zeros((2, 6)))


@pytest.mark.parametrize("odd", ["ab", ["a"], ["a", "a", "b"], [1, "a", 2], [True, False, 3], {"a": 1}], ids=str)
def test_labels_in_a_summary_that_none_can_have_are_refused(tmp_path, animals, odd):
    ml.fit(tiny.config(data=animals[0], steps=0), out=tmp_path / "run")
    summary = tiny.the_summary(tmp_path / "run")
    assert summary["labels"] == ["cat", "dog", "eel"]
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary | {"labels": odd}))
    with pytest.raises(BadInput, match="summary.json: labels is .*; expected 3 different words"):
        ml.load(tmp_path / "run")


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
