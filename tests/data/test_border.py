"""Whatever data come as, they are what the loaders make of them, or are refused in a line."""

import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data.border import admitted, inputs, labels, targets, values
from minilte.data.dataset import Dataset, unscaled

X = stream(0, "check").standard_normal((6, 4))
LABELS = np.arange(6) % 3
MADE = Dataset(X, LABELS, X[:2], LABELS[:2], 3, "made")
REAL = Dataset(X, X[:, :2], X[:2], X[:2, :2], None, "made")


class Odd:
    def __array__(self, *_, **__):
        raise RuntimeError("no\nnumbers here")


WRONG = {  # a name -> what no array of samples is, and words of the refusal
    "ragged": ([[1.0, 2.0], [3.0]], "no array"),
    "objects": (np.array([[None] * 4] * 6), "dtype object"),
    "complex": (X * 1j, "dtype complex128"),
    "dates": (np.zeros((6, 4), "M8[s]"), "dtype datetime64"),
    "bytes": (np.full((6, 4), b"a"), "dtype bytes"),
    "masked": (np.ma.masked_greater(X, 1), "a masked array, expected a number in every place"),
    "masked nowhere": (np.ma.array(X), "a masked array"),
    "an object that raises": (Odd(), "no array"),
    "nothing": (None, "dtype object"),
    "a record": (np.zeros(6, "i4,f4"), "dtype"),
    "words": (X.astype(str), "words, expected numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_array_of_samples_is_refused(name):
    value, words = WRONG[name]
    with pytest.raises(BadInput) as caught:
        inputs(value, "here")
    assert str(caught.value).startswith("here") and words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in WRONG if name != "words"])
@pytest.mark.parametrize("field", ["x_train", "y_train", "x_test", "y_test"])
def test_a_dataset_with_such_an_array_is_refused_by_the_name_of_its_field(field, name):
    for data in (MADE, REAL):
        with pytest.raises(BadInput, match=f"^data: {field}"):
            admitted(data._replace(**{field: WRONG[name][0]}))


def test_lists_and_images_are_samples():
    assert inputs(X.tolist(), "x").tolist() == X.tolist()
    assert inputs(X.reshape(6, 2, 2), "x").tolist() == X.tolist()
    assert inputs([1, 2, 3], "x").shape == (3, 1)
    assert inputs(np.zeros((0, 4)), "x").shape == (0, 4)


@pytest.mark.parametrize("y", [LABELS, LABELS.tolist(), LABELS[:, None], LABELS > 0, LABELS.astype("u1")], ids=str)
def test_whole_numbers_one_a_row_are_labels(y):
    got = targets(y, "y")
    assert got.shape == (6,) and got.dtype == np.int64 and got.tolist() == np.ravel(y).astype(int).tolist()


@pytest.mark.parametrize("y", [np.eye(3, dtype=int)[LABELS], np.int64(3), np.array([["a", "b"]])], ids=str)
def test_one_hot_rows_are_no_labels_and_the_remedy_is_said(y):
    with pytest.raises(BadInput, match="expected one label a row .*argmax"):
        targets(y, "y")


def test_floats_are_the_rows_of_a_regression():
    assert targets(X[:, 0], "y").shape == (6, 1) and targets(X, "y") is X
    with pytest.raises(BadInput, match="has shape"):
        targets(np.zeros((6, 2, 2)), "y")


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (LABELS * 1.0, "y is float64 of shape .6,., expected a label for each row, of 0 to 2; .*argmax"),
        (np.eye(3)[LABELS], "y is float64 of shape .6, 3., .*argmax"),
        (np.eye(3, dtype=int)[LABELS], "y is int64 of shape .6, 3., .*argmax"),
        (LABELS + 1, r"y\[2\]: label 3, expected 0 to 2"),
        (LABELS - 1, r"y\[0\]: label -1, expected 0 to 2"),
        (3, "y is int64 of shape .., expected a label"),
    ],
)
def test_labels_of_samples_are_those_of_the_classes(y, words):
    with pytest.raises(BadInput, match=words):
        labels(y, range(3), "y")
    assert labels(LABELS[:, None] + 4, (4, 5, 6), "y").tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (X, "y is float64 of shape .6, 4., expected rows of 2 numbers"),
        (X[:, 0], "y is float64 of shape .6,., expected rows of 2 numbers"),
        (X[:, :2].astype(str), "y is <U.* expected rows of 2 numbers"),
        (X[:, :2] * np.nan, r"y\[0, 0\] is nan, expected a finite number"),
        (np.full((6, 2), 1e300), r"y in float32\[0, 0\] is inf"),
        (np.full((6, 2), 1e25), r"y in float32\[0, 0\] is 1e\+25, expected at most 2e\+13"),
    ],
)
def test_targets_of_samples_are_rows_of_finite_numbers(y, words):
    with pytest.raises(BadInput, match=words):
        values(y, 2, np.dtype("f4"), "y")


def test_targets_of_one_output_need_no_second_axis():
    assert values(X[:, 0].tolist(), 1, np.dtype("f8"), "y").tolist() == X[:, :1].tolist()
    assert values([1, 2], 1, np.dtype("f4"), "y").dtype == np.float32


# ---------------------------------------------------------------- a caller's dataset


def test_a_dataset_of_lists_is_that_of_arrays():
    for data in (MADE, REAL):
        lists = data._replace(**{field: getattr(data, field).tolist() for field in data._fields[:4]})
        got = admitted(lists)
        for a, b in zip(got[:4], data[:4]):
            assert np.array_equal(a, b) and a.dtype == b.dtype


def test_a_dataset_of_bools_columns_and_images_is_admitted():
    data = admitted(MADE._replace(y_train=LABELS > 0, y_test=LABELS[:2, None] > 0, x_train=X.reshape(6, 2, 2)))
    assert data.y_train.tolist() == [0, 1, 1, 0, 1, 1] and data.y_test.tolist() == [0, 1] and data.inputs == 4
    assert admitted(REAL._replace(y_train=X[:, 0], y_test=X[:2, 0])).outputs == 1
    assert admitted(MADE._replace(classes=np.int64(3))).classes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": LABELS - 1}, "y_train.0.: label -1, expected 0 to 2"),
        ({"y_train": LABELS + 1}, r"y_train\[2\]: label 3, expected 0 to 2"),
        ({"y_train": LABELS * 1.0}, "y_train is float64 of shape .6,., expected a label for each row"),
        (
            {"y_train": np.eye(3, dtype=int)[LABELS]},
            "y_train is int64 of shape .6, 3., expected a label for each row, of 0 to 2; .*argmax",
        ),
        ({"y_train": np.array(["a"] * 6)}, "y_train.0.: label .a., expected 0 to 2"),
        ({"y_train": LABELS[:5]}, "x_train has 6 rows and y_train 5"),
        ({"x_test": X[:0], "y_test": LABELS[:0]}, "x_test has shape"),
        ({"x_test": X[:2, :3]}, "x_test has rows of shape"),
        ({"x_train": X * np.inf}, "x_train.0, 0. is "),
        ({"classes": True}, "classes is True, expected a number"),
        ({"classes": 3.0}, "classes is 3.0, expected a number"),
        ({"classes": 1}, "classes is 1, expected a number of 2 to"),
        ({"classes": 10**9}, "classes is 1000000000, expected"),
        ({"classes": None}, "y_train is int64.6., expected floats; for labels give the dataset classes"),
        ({"name": None}, "name is None, expected text"),
        ({"labels": ("a", "b")}, "labels is .'a', 'b'., expected a tuple, of a different label"),
        ({"labels": ["a", "b", "c"]}, "labels is "),
        ({"labels": ("a", "a", "b")}, "labels is "),
        ({"scale": "rows"}, "scale is 'rows'"),
        ({"said": None}, "said is None"),
        ({"scaling": unscaled(3)}, "scaling is "),
        ({"scaling": (0, 1)}, "scaling is "),
        ({"x_valid": X[:2], "y_valid": LABELS[:1]}, "x_valid has 2 rows and y_valid 1"),
        ({"x_valid": X[:2]}, "y_valid has dtype object"),
        ({"y_valid": [1, 2]}, "y_valid is .1, 2., expected None without x_valid"),
        ({"scale": X}, "scale is array"),
        ({"classes": X}, "classes is array"),
    ],
    ids=str,
)
def test_a_dataset_that_is_none_is_refused_by_the_name_of_its_field(change, message):
    with pytest.raises(BadInput, match=f"^data: ({message})") as caught:
        admitted(MADE._replace(**change))
    assert "\n" not in str(caught.value)


def test_the_callers_arrays_stay_as_they_are():
    before = X.copy()
    admitted(MADE)
    assert np.array_equal(X, before)
