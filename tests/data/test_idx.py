import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data import idx
from minilte.data.idx import IMAGES, LABELS, NAMES, read_folder, read_idx, write_idx

PIXELS = stream(0, "check").integers(0, 256, (6, 3, 2)).astype(np.uint8)
PLAIN = struct.pack(">4I", IMAGES, *PIXELS.shape) + PIXELS.tobytes()
PACKED = gzip.compress(PLAIN, mtime=0)


@pytest.fixture
def put(tmp_path):
    """Write bytes to a file whose name says nothing of its content."""

    def write(data):
        (tmp_path / "file.idx").write_bytes(data)
        return str(tmp_path / "file.idx")

    return write


@pytest.fixture
def folder(tmp_path):
    """A good folder: 6 and 4 images of 3 x 2, labels 0 to 2."""
    for name, values in zip(NAMES, (PIXELS, [0, 1, 2, 0, 1, 2], PIXELS[:4], [2, 1, 0, 1])):
        write_idx(str(tmp_path / f"{name}.gz"), np.array(values, np.uint8))
    return tmp_path


def refused(path, magic=IMAGES):
    with pytest.raises(BadInput) as caught:
        read_idx(path, magic)
    message = str(caught.value)
    assert "file.idx: " in message and "\n" not in message
    return message


@pytest.mark.parametrize("data", [PLAIN, PACKED], ids=["plain", "packed"])
def test_the_content_decides_whether_it_is_packed(put, data):
    assert np.array_equal(read_idx(put(data), IMAGES), PIXELS)


@pytest.mark.parametrize("values", [PIXELS, np.arange(9, dtype=np.uint8)], ids=["images", "labels"])
def test_what_is_written_is_read_back_and_writing_it_again_gives_the_same_bytes(tmp_path, values):
    a, b = tmp_path / "a.gz", tmp_path / "b.gz"
    write_idx(a, values)
    write_idx(b, values)
    assert np.array_equal(read_idx(a, 0x800 + values.ndim), values)
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
class TestFaults:
    def test_a_wrong_magic_is_refused(self, put, pack):
        assert "0x00000d03 (unknown), expected 0x00000803" in refused(put(pack(b"\0\0\x0d\x03" + PLAIN[4:])))

    def test_one_byte_short_is_refused(self, put, pack):
        assert "35 bytes after the header, expected 36" in refused(put(pack(PLAIN[:-1])))

    def test_one_byte_long_is_refused(self, put, pack):
        assert "more bytes after the header, expected 36" in refused(put(pack(PLAIN + b"\0")))

    def test_labels_where_images_belong_are_refused(self, put, pack):
        labels = struct.pack(">2I", LABELS, 1) + b"\0"
        assert "(labels), expected 0x00000803 (images)" in refused(put(pack(labels)))

    def test_images_where_labels_belong_are_refused(self, put, pack):
        assert "(images), expected 0x00000801 (labels)" in refused(put(pack(PLAIN)), LABELS)

    @pytest.mark.parametrize("length", [0, 3, 4, 15])
    def test_an_end_inside_the_header_is_refused(self, put, pack, length):
        refused(put(pack(PLAIN[:length])))

    @pytest.mark.parametrize("shape", [(0, 28, 28), (2**31, 1, 2), (2**32 - 1,) * 3])
    def test_a_header_that_declares_nothing_or_over_2_GiB_is_refused(self, put, pack, shape):
        assert "declares shape" in refused(put(pack(struct.pack(">4I", IMAGES, *shape))))

    def test_a_header_that_lies_costs_no_memory(self, put, pack):
        path = put(pack(struct.pack(">4I", IMAGES, 2**20, 32, 64) + bytes(1000)))
        tracemalloc.start()
        try:
            words = "1000 bytes after the header" if pack is bytes else "that declare to unpack to 2147483648"
            assert words in refused(path)
            assert tracemalloc.get_traced_memory()[1] < 2**23  # bytes; declared were 2^31
        finally:
            tracemalloc.stop()


def test_gzip_that_is_cut_is_refused(put):
    for length in range(2, len(PACKED)):
        refused(put(PACKED[:length]))


def test_gzip_with_a_bad_checksum_is_refused(put):
    assert "damaged gzip" in refused(put(PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:]))


def test_gzip_that_unpacks_beyond_its_header_is_refused_after_one_byte_more(put, monkeypatch):
    unpacked = []
    take = idx._take
    monkeypatch.setattr(idx, "_take", lambda *a: unpacked.append(take(*a)) or unpacked[-1])
    assert "more bytes after the header" in refused(put(gzip.compress(PLAIN + bytes(2**24))))
    assert sum(map(len, unpacked)) == len(PLAIN) + 1


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", PLAIN[:4], PLAIN[:16], PACKED[:10]]), st.binary(max_size=60))
def test_random_bytes_are_refused_or_are_an_array(tmp_path_factory, start, rest):
    path = tmp_path_factory.getbasetemp() / "file.idx"
    path.write_bytes(start + rest)
    try:
        assert read_idx(path, IMAGES).ndim == 3
    except BadInput as error:
        assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 8 * len(PACKED) - 1))
def test_a_flipped_bit_in_gzip_never_changes_a_pixel(tmp_path_factory, bit):
    data = bytearray(PACKED)
    data[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.getbasetemp() / "file.idx"
    path.write_bytes(data)
    try:
        assert np.array_equal(read_idx(path, IMAGES), PIXELS)
    except BadInput as error:
        assert "file.idx: " in str(error)


def test_a_folder_is_a_dataset_of_flat_images(folder):
    data = read_folder(str(folder))
    assert data.x_train.shape == (6, 6) and data.x_test.shape == (4, 6)
    assert np.array_equal(data.x_train, PIXELS.reshape(6, 6))
    assert (data.classes, data.y_test.tolist(), data.name) == (3, [2, 1, 0, 1], folder.name)


def test_of_a_plain_and_a_packed_file_the_plain_is_read(folder):
    (folder / NAMES[2]).write_bytes(struct.pack(">4I", IMAGES, 4, 3, 2) + bytes(24))
    assert not read_folder(str(folder)).x_test.any()


def test_labels_that_are_all_the_same_are_refused(folder):
    for name, count in ((NAMES[1], 6), (NAMES[3], 4)):
        write_idx(folder / f"{name}.gz", np.zeros(count, np.uint8))
    with pytest.raises(BadInput, match="every target is 0, so there is nothing to learn"):
        read_folder(str(folder))


def test_labels_from_1_on_are_numbered_and_it_is_said(folder):
    before = read_folder(str(folder))
    for name, values in ((NAMES[1], [1, 2, 3, 1, 2, 3]), (NAMES[3], [3, 2, 1, 2])):
        write_idx(folder / f"{name}.gz", np.array(values, np.uint8))
    data = read_folder(str(folder))
    assert (data.classes, data.labels) == (3, (1, 2, 3)) and "labels 1 to 3 are outputs 0 to 2" in data.said[-1]
    assert data.y_train.tolist() == before.y_train.tolist() and data.y_test.tolist() == before.y_test.tolist()


def test_a_class_of_ten_that_no_image_has_keeps_its_output(folder):
    write_idx(folder / f"{NAMES[1]}.gz", np.array([0, 9, 4, 0, 9, 4], np.uint8))
    write_idx(folder / f"{NAMES[3]}.gz", np.array([9, 0, 4, 9], np.uint8))
    data = read_folder(str(folder), classes=10)
    assert data.classes == 10 and data.y_train.tolist() == [0, 9, 4, 0, 9, 4] and data.labels == ()


def test_without_a_test_set_a_fifth_is_held_out_as_of_a_table(folder):
    for name in NAMES[2:]:
        (folder / f"{name}.gz").unlink()
    data, other = read_folder(str(folder)), read_folder(str(folder), seed=1)
    assert (len(data.x_train), len(data.x_test)) == (5, 1)
    rows = np.concatenate([data.x_train, data.x_test])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, PIXELS.reshape(6, -1)))
    draws = {read_folder(str(folder), seed=seed).x_test.tobytes() for seed in range(8)}
    assert other.x_test.shape == (1, 6) and len(draws) > 1


NAMED = {  # how others name the files: beginning, and what stands before idx
    "with a dot": ("", ".", "t10k", ""),
    "emnist": ("emnist-letters-", "-", "test", ""),
    "torchvision": ("", "-", "t10k", "raw"),
    "torchvision, from above": ("", "-", "t10k", "MNIST/raw"),
}


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_files_are_found_by_the_names_that_others_give_them(folder, tmp_path, kind, end):
    prefix, dot, test, inside = NAMED[kind]
    expected = read_folder(str(folder))
    top = tmp_path / "MNIST"
    (top / inside).mkdir(parents=True)
    for name in NAMES:
        content = (folder / f"{name}.gz").read_bytes()
        there = prefix + name.replace("-idx", f"{dot}idx").replace("t10k", test) + end
        (top / inside / there).write_bytes(content if end else gzip.decompress(content))
    got = read_folder(str(top))
    for a, b in zip(got[:4], expected[:4]):
        assert np.array_equal(a, b)
    assert got.name == "MNIST"


def test_a_folder_of_several_data_sets_is_refused_by_their_names(folder):
    for name in NAMES:
        content = (folder / f"{name}.gz").read_bytes()
        for kind in ("digits", "letters"):
            (folder / f"emnist-{kind}-{name}.gz").write_bytes(content)
    with pytest.raises(BadInput, match="holds several data sets .*emnist-digits-.*, expected one"):
        read_folder(str(folder))


def test_missing_files_are_named(folder):
    for name in NAMES[1:3]:
        (folder / f"{name}.gz").unlink()
    with pytest.raises(BadInput, match="holds no train-labels-idx1-ubyte, t10k-images-idx3-ubyte"):
        read_folder(str(folder))


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(BadInput, match="nowhere: cannot be read"):
        read_folder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (NAMES[1], [0] * 5, "5 labels, expected 6, the images in train-images"),
        (NAMES[3], [0] * 5, "5 labels, expected 4, the images in t10k-images"),
        (NAMES[3], [0, 1, 3, 0], "position 2: label 3, expected 0 to 2"),
        (NAMES[2], PIXELS[:4].reshape(4, 2, 3), r"images of \(2, 3\) pixels, expected \(3, 2\)"),
    ],
    ids=["train-counts", "test-counts", "label-out-of-range", "test-shape"],
)
def test_files_that_do_not_fit_each_other_are_refused_by_name(folder, name, values, message):
    write_idx(folder / f"{name}.gz", np.array(values, np.uint8))
    with pytest.raises(BadInput, match=f"{name}.gz:? {message}"):
        read_folder(str(folder))


@pytest.mark.parametrize("name", [NAMES[1], NAMES[3]])
def test_label_10_of_10_is_refused(folder, name):
    write_idx(folder / f"{name}.gz", np.array([0, 10, 1, 2, 3, 4][: 6 if name == NAMES[1] else 4], np.uint8))
    with pytest.raises(BadInput, match=f"{name}.gz position 1: label 10, expected 0 to 9"):
        read_folder(str(folder), classes=10)
