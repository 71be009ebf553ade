"""The SHA-256 of what decides a run beside its settings: any other number changes it, and how it lies in memory does not."""

import time

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.data.dataset import Dataset, Scaling, blank
from minilte.run.build import build
from minilte.run.inputs import refuse_others, sha256, sums

DATA = Dataset(
    np.arange(6.0).reshape(3, 2),
    np.arange(3),
    np.ones((2, 2)),
    np.arange(2),
    3,
    "mine",
    Scaling(np.zeros(2), np.ones(2)),
)
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@given(st.sampled_from(ARRAYS), st.integers(0, 99))
def test_any_other_number_of_any_array_changes_it(name, place):
    other = getattr(DATA, name).copy()
    other.flat[place % other.size] += 1
    assert sha256(DATA._replace(**{name: other})) != sha256(DATA)


@pytest.mark.parametrize(
    "change",
    [
        dict(x_train=DATA.x_train.reshape(2, 3)),
        dict(x_train=DATA.x_train.astype(np.float32)),
        dict(classes=4),
        dict(labels=("a", "b", "c")),
        dict(scale="together"),
        dict(scaling=Scaling(np.ones(2), np.ones(2))),
        dict(x_valid=np.ones((1, 2)), y_valid=np.zeros(1, int)),
    ],
    ids=lambda change: next(iter(change)),
)
def test_shapes_dtypes_classes_and_the_scaling_count(change):
    assert sha256(DATA._replace(**change)) != sha256(DATA)


def test_the_order_of_bytes_and_of_axes_in_memory_does_not_count_and_the_name_neither():
    other = DATA._replace(x_train=np.asfortranarray(DATA.x_train), y_train=DATA.y_train.astype(">i8"), name="yours")
    assert sha256(other) == sha256(DATA)


def test_zeros_that_take_no_memory_take_no_time():
    begun = time.perf_counter()
    sha256(blank(1000, 10, 10, 10**8, "float32"))
    assert time.perf_counter() - begun < 1  # 400 GB otherwise


def test_the_weights_that_a_run_starts_from_are_an_input_of_it(tmp_path):
    file = tmp_path / "start.bin"
    file.write_bytes(b"weights")
    got = sums(tiny.config(init_from=str(file)), DATA)
    assert got.keys() == {"data", "init_from"} and got["data"] == sha256(DATA)
    file.write_bytes(b"weightz")
    assert sums(tiny.config(init_from=str(file)), DATA)["init_from"] != got["init_from"]


@pytest.mark.parametrize("changes", [dict(seed=1), dict(samples=65), dict(noise=0.5)], ids=str)
def test_a_run_knows_its_data_as_they_were_read(changes):
    assert build(tiny.config()).inputs == build(tiny.config(dtype="float64")).inputs  # not as they are cast
    assert build(tiny.config()).inputs != build(tiny.config(**changes)).inputs


@pytest.mark.parametrize("had", ["0" * 64, 7, None, "a\nb", ["x"]])
def test_other_inputs_are_refused_in_one_line_that_names_them(had):
    with pytest.raises(
        BadInput, match="^data least-squares: not what the run began with .SHA-256 1111.*begin anew"
    ) as caught:
        refuse_others(tiny.config(), {"data": had}, {"data": "1" * 64})
    assert "\n" not in str(caught.value)
    refuse_others(tiny.config(), {}, {"data": "1" * 64})  # a folder of before they were kept
    refuse_others(tiny.config(), {"data": "1" * 64}, {"data": "1" * 64})
