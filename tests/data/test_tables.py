import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data.tables import MOST_CLASSES, read_csv, read_npz

X = stream(0, "check").standard_normal((10, 4))
LABELS = np.arange(10) % 3


@pytest.fixture
def npz(tmp_path):
    def write(**values):
        np.savez(tmp_path / "file.npz", **values)
        return str(tmp_path / "file.npz")

    return write


@pytest.fixture
def csv(tmp_path):
    def write(targets):
        (tmp_path / "file.csv").write_text("".join(f"{i}.5,{t}\n" for i, t in enumerate(targets)))
        return str(tmp_path / "file.csv")

    return write


def refused(read, path):
    with pytest.raises(BadInput) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_integer_targets_are_labels_and_floats_a_regression(npz):
    assert read_npz(npz(x=X, y=LABELS)).classes == 3
    assert read_npz(npz(x=X, y=LABELS[:, None])).y_train.ndim == 1
    assert read_npz(npz(x=X, y=LABELS > 1)).classes == 2
    assert read_npz(npz(x=X, y=LABELS * 1.0)).classes is None
    assert read_npz(npz(x=X, y=X[:, 0])).outputs == 1
    assert read_npz(npz(x=X, y=X[:, :3])).outputs == 3


def test_whole_targets_in_csv_are_labels_and_others_a_regression(csv):
    labelled, real = read_csv(csv("0123401234")), read_csv(csv(["1.0", "2e0", "-3."]))
    assert labelled.classes == 5 and labelled.y_train.dtype == np.int64
    assert real.classes is None and real.y_train.shape == (2, 1)


@pytest.mark.parametrize("rows", [2, 5, 9, 10, 23])
def test_a_fifth_of_the_rows_is_held_out_and_none_lost(npz, rows):
    data = read_npz(npz(x=np.arange(rows) * 1.0, y=np.arange(rows) * 2.0), seed=3)
    assert len(data.x_test) == max(1, rows // 5)
    both = np.concatenate([data.x_train, data.x_test]).ravel()
    assert sorted(both) == list(range(rows))
    assert np.array_equal(data.y_train, 2 * data.x_train) and np.array_equal(data.y_test, 2 * data.x_test)


def test_the_held_out_rows_depend_on_the_seed_alone(npz, csv):
    path = npz(x=np.arange(50) * 1.0, y=np.arange(50) * 1.0)
    first, again, other = (read_npz(path, seed).x_test.tolist() for seed in (0, 0, 1))
    assert first == again != other
    from_csv = read_csv(csv(range(50)), seed=0).x_test - 0.5
    assert from_csv.tolist() == first


def test_a_class_may_occur_in_the_held_out_rows_alone(npz):
    y = np.zeros(10, int)
    y[read_npz(npz(x=np.arange(10) * 1.0, y=y)).x_test.astype(int).ravel()[0]] = 4
    data = read_npz(npz(x=np.arange(10) * 1.0, y=y))
    assert data.classes == 5 and data.y_train.max() == 0


def test_a_given_test_set_is_kept(npz):
    data = read_npz(npz(x_train=X, y_train=LABELS, x_test=X[:2], y_test=LABELS[:2]))
    assert np.array_equal(data.x_train, X) and np.array_equal(data.y_test, LABELS[:2]) and data.name == "file"


def test_further_axes_of_x_are_flattened(npz):
    cube = X.reshape(10, 2, 2)
    data = read_npz(npz(x_train=cube, y_train=LABELS, x_test=cube, y_test=LABELS))
    assert np.array_equal(data.x_train, X) and np.array_equal(data.x_test, X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.append(LABELS[:9], -1)}, r"y[9]: label -1, expected 0 to"),
        ({"y": np.append(LABELS[:9], MOST_CLASSES)}, f"y[9]: label {MOST_CLASSES}, expected"),
        ({"y": np.full(10, 2**64 - 1, np.uint64)}, "y[0]: label 18446744073709551616, expected"),
        ({"y": LABELS[:9]}, "x_train has 10 rows and y_train 9"),
        ({"y": np.ones((10, 2), int)}, "y has integers of shape (10, 2)"),
        ({"y": np.ones((10, 2, 2))}, "y has shape (10, 2, 2)"),
        ({"y": np.float64(3)}, "y has shape ()"),
        ({"x": np.where(X > 1, np.nan, X)}, "is nan, expected a finite number"),
        ({"x": np.float64(3)}, "x_train has 1 rows and y_train 10"),
        ({"x": X[:1], "y": LABELS[:1]}, "1 row, expected at least 2"),
        ({"z": X}, "holds the arrays"),
    ],
)
def test_arrays_that_are_no_dataset_are_refused(npz, change, message):
    found = refused(read_npz, npz(**({"x": X, "y": LABELS} | change)))
    assert "file.npz" in found and message in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": np.array([0, 3])}, "y_test[1] is label 3, expected 0 to 2"),
        ({"y_test": np.array([0.0, 1.7])}, "y_train and y_test, expected integers in both or floats in both"),
        ({"x_test": X[:2, :3]}, "x_test has rows of shape (3,), expected (4,)"),
        ({"x_test": X[:3]}, "x_test has 3 rows and y_test 2"),
    ],
)
def test_a_test_set_that_does_not_fit_is_refused(npz, change, message):
    arrays = {"x_train": X, "y_train": LABELS, "x_test": X[:2], "y_test": LABELS[:2]} | change
    assert message in refused(read_npz, npz(**arrays))


def test_label_minus_1_in_csv_is_refused_with_its_line(csv):
    message = refused(read_csv, csv([0, 1, -1, 2]))
    assert "file.csv line 3: label -1, expected 0 to" in message and "regression" in message


def test_target_1_7_among_labels_is_refused_with_its_line_and_both_remedies(csv):
    message = refused(read_csv, csv([0, 1, 1.7, 2]))
    assert "file.csv line 3: target 1.7 is no whole number, that of line 1 is" in message
    assert "whole numbers for classes, or a decimal point in every target" in message


def test_an_amount_as_label_is_refused_rather_than_given_an_output_each(csv):
    assert "line 2: label 250000, expected" in refused(read_csv, csv([1, 250000]))


def test_a_single_row_is_refused(csv):
    assert "1 row, expected at least 2" in refused(read_csv, csv([1]))


@settings(max_examples=150, deadline=None)
@given(st.text("0123,.-e\n", max_size=80))
def test_random_text_is_refused_or_a_dataset(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_text(text)
    try:
        data = read_csv(path)
    except BadInput as error:
        assert "\n" not in str(error)
        return
    assert data.outputs >= 1 and len(data.x_test) >= 1 and np.isfinite(data.x_train).all()
