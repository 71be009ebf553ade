"""Weights in a file: the same bits come back, under the names of PyTorch, or the file is refused."""

import hashlib
import io
import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

from minilte.core import networks
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Linear
from minilte.disk.weights import read_tensors, read_weights, sha256, tensors, unpacked, write_weights

NET = networks.mlp([3, 2, 2], norm=True)
WEIGHTS = networks.init_weights(NET, seed=1, dtype="float64")
BYTES = save(tensors(WEIGHTS))


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "file.safetensors"


@st.composite
def any_weights(draw):
    depth, dtype = draw(st.integers(1, 3)), draw(st.sampled_from(["float32", "float64"]))
    widths = draw(st.lists(st.integers(1, 4), min_size=depth + 1, max_size=depth + 1))
    norm, bias, seed = draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 99))
    return networks.init_weights(networks.mlp(widths, norm=norm, bias=bias), seed, dtype)


def refused(file, like=WEIGHTS):
    with pytest.raises(BadInput) as caught:
        read_weights(file, like)
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)
    return str(caught.value)


@given(any_weights())
def test_what_is_written_is_read_back_bit_by_bit(file, weights):
    write_weights(file, weights)
    again = read_weights(file, weights)
    assert [type(layer) for layer in again.values()] == [type(layer) for layer in weights.values()]
    assert list(again) == list(weights) and list(tensors(again)) == list(tensors(weights))
    assert [a.dtype for a in tensors(again).values()] == [a.dtype for a in tensors(weights).values()]
    assert sha256(again) == sha256(weights)


@given(any_weights())
def test_the_hash_is_of_the_bytes_in_the_order_of_the_layers_matrix_then_bias(weights):
    arrays = [array for layer in weights.values() for array in layer if array is not None]
    assert sha256(weights) == hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_the_hash_does_not_depend_on_how_memory_is_laid_out():
    other = {
        name: type(layer)(*(np.asfortranarray(a).astype(a.dtype.newbyteorder(">")) for a in layer))
        for name, layer in WEIGHTS.items()
    }
    assert sha256(other) == sha256(WEIGHTS)


@given(st.sampled_from(["layer1", "norm1", "layer2"]), st.integers(0, 1), st.integers(0, 127))
def test_one_flipped_bit_changes_the_hash(name, field, bit):
    arrays = [array.copy() for array in WEIGHTS[name]]
    arrays[field].view(np.uint64).reshape(-1)[bit // 64] ^= np.uint64(1 << bit % 64)
    assert sha256(WEIGHTS | {name: type(WEIGHTS[name])(*arrays)}) != sha256(WEIGHTS)


def test_names_are_those_of_torch_modules_and_extras_keep_their_own(file):
    write_weights(file, WEIGHTS, {"input.mean": np.zeros(3)})
    layers = {f"{name}.{part}" for name in ("layer1", "norm1", "layer2") for part in ("weight", "bias")}
    assert set(load_file(file)) == layers | {"input.mean"}
    assert sha256(read_weights(file, WEIGHTS)) == sha256(WEIGHTS)


def test_an_array_that_is_a_transposed_view_is_written_as_what_it_means(file):
    W = stream(0, "check").standard_normal((3, 2)).T
    write_weights(file, {"layer1": Linear(W, None)})
    assert np.array_equal(load_file(file)["layer1.weight"], W)


def test_numbers_are_read_in_the_dtype_of_the_run(file):
    write_weights(file, WEIGHTS)
    like = networks.init_weights(NET, seed=2)
    got = read_weights(file, like)
    assert got["layer1"].W.tobytes() == WEIGHTS["layer1"].W.astype("float32").tobytes()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("layer1.weight", None, "no tensor 'layer1.weight'; it holds .*layer1.bias"),
        ("layer9.weight", np.zeros(2), "tensor 'layer9.weight' belongs to no layer"),
        ("inputs.weight", np.zeros(2), "tensor 'inputs.weight' belongs to no layer"),  # no scaling, as input.mean is
        ("layer1.weight", np.zeros((3, 2)), r"layer1.weight has shape \(3, 2\), expected \(2, 3\)"),
        ("layer1.bias", np.zeros(2, int), r"layer1.bias \(int64\) is not all finite numbers of float64"),
        ("layer1.bias", np.array([0, np.nan]), "layer1.bias .* not all finite"),
        ("layer2.bias", np.array([0, -np.inf]), "layer2.bias .* not all finite"),
    ],
    ids=["missing", "extra", "nearly-a-scaling", "shape", "whole-numbers", "nan", "inf"],
)
def test_a_tensor_that_does_not_fit_is_named(file, name, change, message):
    named = tensors(WEIGHTS) | {name: change}
    save_file({key: array for key, array in named.items() if array is not None}, file)
    with pytest.raises(BadInput, match=message):
        read_weights(file, WEIGHTS)


def test_a_number_beyond_the_dtype_of_the_run_is_refused(file):
    save_file(tensors(WEIGHTS) | {"layer1.bias": np.array([0, 1e300])}, file)
    like = networks.init_weights(NET, seed=1, dtype="float32")
    assert "layer1.bias (float64) is not all finite numbers of float32" in refused(file, like)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 40, len(BYTES) - 8 * 4, len(BYTES) - 1])
def test_a_file_cut_anywhere_is_refused(file, length):
    file.write_bytes(BYTES[:length])
    assert "not a whole .safetensors file" in refused(file)


def zipped():
    content = io.BytesIO()
    np.savez(content, a=np.zeros(3))
    return content.getvalue()


def npy():
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    return content.getvalue()


class Planted:
    def __reduce__(self):
        return os._exit, (3,)


@pytest.mark.parametrize(
    "content",
    [b"no tensors at all", b"\xff" * 40, pickle.dumps(Planted()), npy(), zipped(), BYTES + b"\0", save({})],
    ids=["text", "length-beyond-memory", "pickle", "npy", "zip", "one-byte-long", "no-tensors"],
)
def test_another_file_in_its_place_is_refused_and_nothing_in_it_is_run(file, content):
    file.write_bytes(content)
    refused(file)


@settings(max_examples=100)
@given(st.integers(0, 8 * len(BYTES) - 1))
def test_a_flipped_bit_is_refused_or_leaves_finite_numbers_of_the_right_shape(file, bit):
    content = bytearray(BYTES)
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    try:
        got = read_weights(file, WEIGHTS)
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert all(np.isfinite(array).all() for array in tensors(got).values())


@settings(max_examples=100)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_tensors_or_refused_by_name(file, content, length):
    file.write_bytes(len(content).to_bytes(8, "little") * length + content)  # with and without a good length
    try:
        assert isinstance(read_tensors(file), dict)
    except BadInput as error:
        assert str(error).startswith(f"{file}: ") and "\n" not in str(error)


def test_a_missing_file_a_folder_and_a_pipe_are_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "pipe", "."):
        refused(tmp_path / name)


def raw(**tensors):
    """The bytes of a .safetensors file of (kind, shape, bytes) by name."""
    header, data = {}, b""
    for name, (kind, shape, content) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return headed(json.dumps(header).encode(), data)


def headed(header, data):
    return len(header).to_bytes(8, "little") + header + data


def test_bfloat16_is_read_as_the_float32_that_it_is_the_upper_half_of():
    numbers = np.array([[1.0, -2.5], [0.0, 2.0**-130]], np.float32)  # each is a bfloat16
    halves = (numbers.view(np.uint32) >> 16).astype("<u2")
    got = unpacked(raw(W=("BF16", [2, 2], halves.tobytes()), v=("F64", [1], np.ones(1).tobytes())), "file")
    assert got["W"].dtype == np.float32 and np.array_equal(got["W"], numbers) and got["v"].tolist() == [1.0]


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"])
def test_every_kind_that_numpy_has_is_read_in_its_shape(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    got = unpacked(save({"a": array, "b": np.array(array[0, 0]), "c": array[:0]}), "file")
    for name, want in {"a": array, "b": array[0, 0], "c": array[:0]}.items():
        assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape) and np.array_equal(got[name], want)


def test_a_kind_that_numpy_lacks_is_named_and_not_called_damage():
    with pytest.raises(BadInput, match="^file: tensor 'W' is F8_E4M3, expected BF16, .*F32.*; convert it first"):
        unpacked(raw(W=("F8_E4M3", [4], b"1234")), "file")


@pytest.mark.parametrize("copies", [1, 2])
def test_a_name_that_stands_twice_in_the_header_is_refused(copies):
    entry = b'"W":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    data = headed(b"{" + b",".join([entry] * copies) + b"}", np.ones(1, "f4").tobytes())
    if copies == 1:
        assert unpacked(data, "file")["W"].tolist() == [1.0]
        return
    with pytest.raises(BadInput, match="^file: not a whole .safetensors file .a key stands twice.$"):
        unpacked(data, "file")
