import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data.npz import arrays

CHOICES = ({"x", "y"},)
GOOD = {"x": stream(0, "check").standard_normal((5, 3)), "y": np.arange(5)}


def packed(save=np.savez_compressed, **values):
    data = io.BytesIO()
    save(data, **values)
    return data.getvalue()


def npy(array):
    data = io.BytesIO()
    np.lib.format.write_array(data, array)
    return data.getvalue()


def zipped(**members):
    """A zip of raw member bytes, with right checksums."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return data.getvalue()


def header(text):
    """An .npy file of format 1.0 with this header and no data."""
    text = text.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.fixture
def put(tmp_path):
    def write(data):
        (tmp_path / "file.npz").write_bytes(data)
        return str(tmp_path / "file.npz")

    return write


def refused(path):
    with pytest.raises(BadInput) as caught:
        arrays(path, CHOICES)
    message = str(caught.value)
    assert "file.npz: " in message and "\n" not in message and "allow_pickle" not in message
    return message


def same(found):
    return all(
        np.array_equal(found[name], values) and found[name].dtype == values.dtype for name, values in GOOD.items()
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saved_is_read_back(put, save):
    assert same(arrays(put(packed(save, **GOOD)), CHOICES))


@pytest.mark.parametrize("dtype", ["bool", "u1", "<i8", ">i4", "<f2", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_real_dtype_and_memory_order_is_read_back(put, dtype, order):
    x = np.asarray(GOOD["x"] > 0, dtype=dtype, order=order)
    found = arrays(put(packed(x=x, y=GOOD["y"])), CHOICES)["x"]
    assert np.array_equal(found, x) and found.dtype == x.dtype


@pytest.mark.parametrize("names", [("x",), ("x", "z"), ("x", "y", "z"), ()])
def test_missing_and_unknown_arrays_are_refused(put, names):
    assert "expected x y" in refused(put(packed(**dict.fromkeys(names, np.ones(2)))))


def test_a_doubled_array_is_refused(put):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("x.npy", "x", "y.npy"):
            archive.writestr(name, npy(np.ones(2)))
    assert "['x', 'x', 'y']" in refused(put(data.getvalue()))


@pytest.mark.parametrize(
    "x",
    [np.array([b"1"]), np.array([1j]), np.zeros(1, "M8[s]"), np.zeros(1, "i4,f4")],
    ids=["bytes", "complex", "date", "record"],
)
def test_a_wrong_dtype_is_refused(put, x):
    assert "array x has dtype" in refused(put(packed(x=x, y=np.ones(1))))


def test_words_are_read_back_and_letters_that_unicode_lacks_are_refused(put):
    words = np.array(["cat", "Zoë", "𝛼"])
    assert np.array_equal(arrays(put(packed(x=GOOD["x"], y=words)), CHOICES)["y"], words)
    for code in (0x110000, 0xD800, 0xFFFFFFFF):
        data = npy(words)
        assert "for a letter, expected Unicode" in refused(
            put(zipped(x=npy(GOOD["x"]), y=data[:-4] + code.to_bytes(4, "little")))
        )


def test_a_planted_pickle_stays_unexecuted(put, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = put(packed(x=np.array([Trap()], dtype=object), y=np.ones(1)))
    assert "array x has dtype object" in refused(path)
    refused(put(pickle.dumps(Trap())))
    assert not (tmp_path / "sprung").exists()


def test_over_2_GiB_declared_is_refused_before_anything_is_unpacked(put):
    data = bytearray(packed(**GOOD))
    entries = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]  # of the directory
    for start in entries:
        data[start + 24 : start + 28] = (2**31 - 1).to_bytes(4, "little")
    assert f"declares {2 * (2**31 - 1)} bytes, expected at most {2**31}" in refused(put(data))


def test_a_member_that_unpacks_beyond_its_declaration_is_refused(put):
    data = bytearray(zipped(x=npy(np.zeros(10**6)), y=npy(np.zeros(1))))
    start = data.index(b"PK\x01\x02")
    data[start + 24 : start + 28] = (1000).to_bytes(4, "little")
    assert "Bad CRC-32" in refused(put(data))


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(3,)", "(-1, -2)", "()", "(0,)", "(1, 0, 5)"])
def test_a_header_that_claims_another_shape_than_the_data_is_refused(put, shape):
    x = header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}") + bytes(16)
    assert "expected the same, and not none" in refused(put(zipped(x=x, y=npy(np.ones(1)))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        header(""),
        header("(" * 5000),
        header("{'descr': '<f8'}"),
        header(" " * 20000),
        header("{'descr': 'zz', 'fortran_order': False, 'shape': (2,), }"),
        header("  x\n y\n  'z"),
        header("{'descr': '<U0', 'fortran_order': False, 'shape': (2,), }"),
        b"\x93NUMPY\x09\x00",
        b"\x93NUMPY\x03\x00",
    ],
)
def test_a_header_that_is_none_is_refused(put, content):
    refused(put(zipped(x=content, y=npy(np.ones(1)))))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_that_numpy_never_writes_is_refused(put, method):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name in GOOD:
            archive.writestr(f"{name}.npy", npy(GOOD[name]))
    assert "packed as NumPy never does" in refused(put(data.getvalue()))


def test_other_files_are_refused_without_advice_on_pickles(put):
    for data in (b"", b"x,y\n1,2\n", npy(np.ones(3)), b"PK\x03\x04", b"PK\x05\x06" + bytes(18)):
        refused(put(data))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_file_is_refused(put, save):
    data = packed(save, **GOOD)
    for length in range(0, len(data), 7):
        refused(put(data[:length]))


@pytest.mark.parametrize("data", [packed(np.savez, **GOOD), packed(**GOOD)], ids=["stored", "deflated"])
@settings(max_examples=300, deadline=None)
@given(draw=st.data())
def test_a_flipped_bit_never_changes_a_number(tmp_path_factory, data, draw):
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.getbasetemp() / "file.npz"
    path.write_bytes(flipped)
    try:
        assert same(arrays(path, CHOICES))
    except BadInput as error:
        assert "\n" not in str(error) and "allow_pickle" not in str(error)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 127), st.binary(min_size=1, max_size=4))
def test_a_header_damaged_under_a_right_checksum_is_refused_or_fits(tmp_path_factory, place, patch):
    x = bytearray(npy(GOOD["x"]))
    x[place : place + len(patch)] = patch
    path = tmp_path_factory.getbasetemp() / "file.npz"
    path.write_bytes(zipped(x=bytes(x), y=npy(GOOD["y"])))
    try:
        assert arrays(path, CHOICES)["x"].dtype.kind in "biuf"
    except BadInput as error:
        assert "\n" not in str(error)
