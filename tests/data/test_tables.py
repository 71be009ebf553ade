import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data.labels import MOST_CLASSES
from minilte.data.tables import read_csv, read_npz

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
    x, y = np.arange(10) * 1.0, np.arange(10) % 2
    out = read_npz(npz(x=x, y=y)).x_test.astype(int).ravel()
    y[out[0]] = 2
    data = read_npz(npz(x=x, y=y))
    assert data.classes == 3 and data.y_train.max() == 1 and 2 in data.y_test


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (LABELS + 1, (1, 2, 3)),
        (LABELS * 5, (0, 5, 10)),
        (np.array(["cat", "dog", "eel"])[LABELS], ("cat", "dog", "eel")),
        (LABELS[:, None] + 1, (1, 2, 3)),
    ],
    ids=["from 1", "gaps", "words", "column"],
)
def test_labels_of_a_file_are_numbered_in_their_order_and_it_is_said(npz, y, labels):
    plain, data = read_npz(npz(x=X, y=LABELS)), read_npz(npz(x=X, y=y))
    assert data.labels == labels and data.classes == 3 and plain.labels == ()
    assert data.y_train.tolist() == plain.y_train.tolist() and data.y_test.tolist() == plain.y_test.tolist()
    assert "are outputs 0 to 2" in data.said[-1] and str(labels[0]) in data.said[-1]
    assert not any("outputs" in words for words in plain.said)


def test_words_as_labels_in_csv_are_classes(csv):
    numbers, words = read_csv(csv([0, 1, 0, 1, 2])), read_csv(csv(["cat", "dog", "cat", "dog", "eel"]))
    assert words.labels == ("cat", "dog", "eel")
    assert words.y_train.tolist() == numbers.y_train.tolist() and words.y_test.tolist() == numbers.y_test.tolist()


@pytest.mark.parametrize("targets", [[3, 3, 3], ["1.5", "1.5", "1.50"], ["cat"] * 3], ids=str)
def test_targets_that_are_all_the_same_are_refused_with_the_remedy(csv, targets):
    message = refused(read_csv, csv(targets))
    assert "every target is" in message and "--target" in message


def test_rows_that_are_all_the_same_are_refused(npz):
    assert "every row is the same" in refused(read_npz, npz(x=np.ones((10, 3)), y=LABELS))


@pytest.mark.parametrize("names", [("X", "y"), ("images", "labels"), ("Data", "target"), ("x_train", "y_train")])
def test_common_names_of_arrays_are_known(npz, names):
    expected, got = read_npz(npz(x=X, y=LABELS)), read_npz(npz(**dict(zip(names, (X, LABELS)))))
    assert np.array_equal(got.x_train, expected.x_train) and np.array_equal(got.y_test, expected.y_test)


@pytest.mark.parametrize(
    "names", ["train_images train_labels test_images test_labels", "X_train Y_train X_test Y_test"]
)
def test_common_names_of_train_and_test_are_known(npz, names):
    data = read_npz(npz(**dict(zip(names.split(), (X, LABELS, X[:3], LABELS[:3])))))
    assert np.array_equal(data.x_train, X) and np.array_equal(data.y_test, LABELS[:3])


@pytest.mark.parametrize("names", [("x", "X", "y"), ("images", "x", "labels"), ("X_val", "y_val")])
def test_names_that_leave_a_choice_are_refused(npz, names):
    assert "holds the arrays" in refused(read_npz, npz(**dict.fromkeys(names, X)))


def test_arrays_without_names_are_refused_with_the_remedy(tmp_path):
    np.savez(tmp_path / "file.npz", X, LABELS)
    message = refused(read_npz, str(tmp_path / "file.npz"))
    assert "['arr_0', 'arr_1']" in message and "np.savez(file, x=…, y=…)" in message


def test_samples_of_several_axes_are_images_and_those_of_one_are_columns(npz):
    cube = X.reshape(10, 2, 2)
    assert read_npz(npz(x=X, y=LABELS)).scale == "columns"
    images = read_npz(npz(x=cube, y=LABELS))
    assert images.scale == "together" and "images of 2 x 2, standardised together" in images.said[0]


def test_words_for_inputs_are_refused(npz):
    assert "x holds words, expected numbers" in refused(read_npz, npz(x=X.astype(str), y=LABELS))


def test_the_target_column_may_be_named(tmp_path):
    (tmp_path / "file.csv").write_text("a,label,c\n" + "".join(f"{i}.5,{i % 2},{2 * i}.5\n" for i in range(10)))
    path = str(tmp_path / "file.csv")
    assert read_csv(path).classes == 2 and "the target is column 2 ('label')" in read_csv(path).said[0]
    for target in ("c", "3"):
        data = read_csv(path, target=target)
        assert data.classes is None and np.array_equal(data.y_train[:, 0], data.x_train[:, 0] * 2 - 0.5)
        assert "the target is column 3 ('c')" in data.said[0]


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
        ({"y": np.ones((10, 2), int)}, "y has int64 of shape (10, 2)"),
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
        ({"y_test": np.array([0, 3])}, "y_test[1]: label 3, expected 0 to 2"),
        ({"y_test": np.array([0.0, 1.7])}, "y_train and y_test, expected labels in both or floats in both"),
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
