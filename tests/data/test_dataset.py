import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data.dataset import COLUMNS, Dataset, cast, hold_out, prepared, standardise, validated


def regression(x_train, x_test=None, y=None):
    x_test = x_train if x_test is None else x_test
    y = np.zeros((len(x_train), 1)) if y is None else y
    return Dataset(x_train, y, x_test, np.zeros((len(x_test), y.shape[1])), None, "made")


def labelled(y_train=(0, 1, 2), y_test=(0, 1, 2), classes=3):
    x = np.arange(6.0).reshape(3, 2)
    return Dataset(x, np.array(y_train), x, np.array(y_test), classes, "made")


def normal(seed, rows, width):
    return stream(seed, "check").standard_normal((rows, width))


def test_widths_are_those_of_the_samples_and_predictions():
    assert (labelled().inputs, labelled().outputs) == (2, 3)
    assert regression(normal(0, 4, 5), y=np.zeros((4, 7))).outputs == 7


@pytest.mark.parametrize("width", [1, 3, COLUMNS, COLUMNS + 1])
@pytest.mark.parametrize("unit", [1e-200, 1e-3, 1.0, 1e200])
def test_training_features_get_mean_0_and_deviation_1_in_any_unit(width, unit):
    data = regression((normal(1, 50, width) + 3) * unit)
    x = standardise(data, "float64").x_train
    # 1e-13: rounding of a mean of 50 numbers of size 4
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-13)


def test_the_test_set_is_moved_by_the_statistics_of_the_training_set():
    train, test = normal(2, 50, 3), normal(3, 20, 3) + 5
    got = standardise(regression(train, test), "float64").x_test
    # 1e-13: division by the largest value first rounds once more than the formula
    np.testing.assert_allclose(got, (test - train.mean(axis=0)) / train.std(axis=0), atol=1e-13)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6, 1e300, 5e-324])
def test_a_feature_constant_in_training_becomes_0_even_where_the_test_set_differs(constant):
    train, test = np.full((30, 2), constant), np.full((4, 2), 7.0)
    train[:, 1] = np.arange(30)
    data = standardise(regression(train, test), "float64")
    assert np.all(data.x_train[:, 0] == 0) and np.all(data.x_test[:, 0] == 0)


def test_features_of_one_unit_are_standardised_together():
    x = normal(11, 50, COLUMNS + 3) * np.arange(COLUMNS + 3)  # the first feature is constant
    got = standardise(regression(x), "float64", together=True)
    # 1e-12: the deviation is put together from those of the features
    np.testing.assert_allclose(got.x_train, (x - x.mean()) / x.std(), atol=1e-12)
    assert len(set(got.scaling.deviation)) == 1


def test_the_scaling_that_is_kept_is_the_one_that_was_applied():
    x = normal(12, 20, 5) * 3 + 1
    data = standardise(regression(x), "float32")
    assert data.scaling.apply(x, "float32").tobytes() == data.x_train.tobytes()


def test_bytes_and_floats_of_the_same_values_standardise_to_the_same_bits():
    x = stream(4, "check").integers(0, 256, (40, 9)).astype(np.uint8)
    a, b = standardise(regression(x), "float32"), standardise(regression(x.astype(float)), "float32")
    assert a.x_train.tobytes() == b.x_train.tobytes() and a.x_train.dtype == np.float32


def test_standardising_again_changes_nothing_beyond_rounding():
    once = standardise(regression(normal(5, 50, 4)), "float64")
    # 1e-13: the mean and deviation of the second pass are 0 and 1 up to rounding
    np.testing.assert_allclose(standardise(once, "float64").x_train, once.x_train, atol=1e-13)


def test_the_callers_arrays_stay():
    x = normal(6, 10, 3)
    before = x.copy()
    standardise(regression(x), "float64")
    assert np.array_equal(x, before)


def test_a_cast_keeps_labels_and_casts_targets():
    assert cast(labelled(), "float32").y_train.dtype == np.int64
    assert cast(labelled(), "float32").x_test.dtype == np.float32
    assert cast(regression(normal(7, 4, 2)), "float32").y_train.dtype == np.float32


@pytest.mark.parametrize("make_fit", [cast, standardise])
def test_a_number_beyond_the_dtype_is_refused_with_its_place(make_fit):
    data = regression(normal(8, 4, 2), y=np.array([[0.0], [0.0], [1e300], [0.0]]))
    with pytest.raises(BadInput, match=r"made in float32: y_train\[2, 0\] is inf"):
        make_fit(data, "float32")


def test_a_test_value_that_overflows_the_standardisation_is_refused():
    with pytest.raises(BadInput, match=r"x_test\[0, 0\] is"):
        standardise(regression(normal(9, 5, 1) * 1e-300, np.full((1, 1), 1e300)), "float64")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.array([[0, 1], [2, np.nan], [0, 0]])}, r"x_train\[1, 1\] is nan"),
        ({"x_test": np.array([[0, 1], [2, -np.inf], [0, 0]])}, r"x_test\[1, 1\] is -inf"),
        ({"y_train": np.array([0, 1])}, "x_train has 3 rows and y_train 2"),
        ({"x_test": np.zeros((3, 5))}, r"x_test has rows of shape \(5,\), expected \(2,\)"),
        ({"x_train": np.zeros((0, 2)), "y_train": np.zeros(0, int)}, r"x_train has shape \(0, 2\)"),
        ({"x_train": np.zeros((3, 0))}, r"x_train has shape \(3, 0\)"),
        ({"x_train": np.zeros(3)}, r"x_train has shape \(3,\)"),
        ({"y_test": np.array([0, 3, 1])}, r"y_test\[1\] is label 3, expected 0 to 2"),
        ({"y_train": np.array([0, -1, 1])}, r"y_train\[1\] is label -1"),
    ],
)
def test_the_check_names_the_array_and_the_place(change, message):
    with pytest.raises(BadInput, match=f"file.npz: {message}"):
        validated(labelled()._replace(**change), "file.npz")


def test_targets_of_another_width_are_refused():
    data = regression(normal(10, 3, 2))
    with pytest.raises(BadInput, match="y_test has rows of shape"):
        validated(data._replace(y_test=np.zeros((3, 2))), "made")


def test_targets_without_a_column_are_refused():
    with pytest.raises(BadInput, match="y_train is float64"):
        validated(regression(normal(10, 3, 2), y=np.zeros((3, 0))), "made")


@pytest.mark.parametrize("field", ["x_train", "x_test", "y_train", "y_test"])
@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e20), ("float32", -1e30), ("float64", 1e200)])
def test_a_number_whose_square_leaves_the_dtype_is_refused_with_its_place(field, dtype, size):
    data = regression(normal(13, 4, 2), y=normal(14, 4, 1))
    values = getattr(data, field).copy()
    values[2, 0] = size
    with pytest.raises(BadInput, match=rf"made in {dtype}: {field}\[2, 0\] is .*, expected at most .*larger unit"):
        cast(data._replace(**{field: values}), dtype)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e13), ("float64", 1e100)])
def test_a_large_number_whose_square_fits_passes(dtype, size):
    data = regression(normal(15, 4, 2), y=np.full((4, 1), size))
    assert cast(data, dtype).y_train[0, 0] == np.dtype(dtype).type(size)


# ---------------------------------------------------------------- rows that are held out


def numbered(rows):
    """Row i has the input i and the target 2 i."""
    x = np.arange(rows, dtype=float)[:, None]
    return Dataset(x, 2 * x, x[:3], 2 * x[:3], None, "made")


@pytest.mark.parametrize(("validate", "count"), [(0.25, 10), (10, 10), (1, 1), (0.001, 1), (39, 39)])
def test_rows_that_validate_leave_the_training_set_and_the_test_set_stays(validate, count):
    data = prepared(numbered(40), "float64", 3, validate)
    assert data.splits == ("train", "valid", "test") and len(data.x_valid) == count
    assert sorted([*data.x_train[:, 0], *data.x_valid[:, 0]]) == list(range(40))
    assert np.array_equal(data.y_valid, 2 * data.x_valid) and np.array_equal(data.y_train, 2 * data.x_train)
    assert np.array_equal(data.x_test, numbered(40).x_test)


def test_the_rows_that_validate_depend_on_the_seed_and_are_not_those_of_a_test_set():
    draws = [prepared(numbered(40), "float64", seed, 8).x_valid.tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert hold_out(numbered(40), "test", 8, 0).x_test.tolist() != draws[0]


@pytest.mark.parametrize("validate", [40, 41, 0.99])
def test_so_many_rows_to_validate_that_none_stays_are_refused(validate):
    with pytest.raises(BadInput, match="validate: 4. of 40 training rows, expected fewer"):
        prepared(numbered(40), "float64", 0, validate)


def test_the_scaling_is_measured_without_the_rows_that_validate():
    data = prepared(numbered(40)._replace(scale="columns"), "float64", 0, 10)
    kept = prepared(numbered(40), "float64", 0, 10).x_train
    assert data.scaling.mean[0] == pytest.approx(kept.mean(), rel=1e-14)  # rounding of a mean
    np.testing.assert_allclose(data.x_train.mean(), 0, atol=1e-14)
    assert len(data.x_valid) == 10 and data.scale == ""


def test_data_that_are_prepared_are_not_scaled_or_split_again():
    once = prepared(numbered(40)._replace(scale="together"), "float32", 0, 10)
    again = prepared(once, "float32", 0, 10)
    for field in ("x_train", "x_valid", "x_test", "y_train"):
        assert getattr(again, field).tobytes() == getattr(once, field).tobytes()


def test_a_good_dataset_passes_the_check_unchanged():
    data = labelled()
    assert validated(data, "made") is data


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_any_finite_column_becomes_finite_or_is_refused(column):
    try:
        data = standardise(regression(np.array(column)[:, None]), "float64")
    except BadInput:
        return
    assert np.isfinite(data.x_train).all()
