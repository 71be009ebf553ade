import shutil

import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.data import sources
from minilte.data.dataset import prepared
from minilte.data.idx import NAMES, write_idx
from minilte.data.sources import load
from minilte.data.synthetic import LeastSquares, least_squares


@pytest.fixture(scope="module")
def mini():
    return load("fashion-mini", dtype="float64")


@pytest.fixture
def ten(tmp_path, monkeypatch):
    """A folder with ten images of ten classes, and no other Fashion-MNIST in sight."""
    monkeypatch.delenv("MINILTE_DATA", raising=False)
    monkeypatch.setattr(sources, "DEBIAN", str(tmp_path / "debian"))
    folder = tmp_path / "ten"
    folder.mkdir()
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    for name in NAMES:
        write_idx(folder / f"{name}.gz", images if "images" in name else np.arange(10, dtype=np.uint8))
    return folder


def refused(*args, **options):
    with pytest.raises(BadInput) as caught:
        load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_fashion_mini_is_balanced_and_of_the_size_said(mini):
    assert mini.x_train.shape == (5000, 784) and mini.x_test.shape == (2000, 784)
    assert np.bincount(mini.y_train).tolist() == [500] * 10
    assert np.bincount(mini.y_test).tolist() == [200] * 10
    assert (mini.classes, mini.outputs, mini.name) == (10, 10, "fashion-mini")


def test_images_are_standardised_by_one_mean_and_deviation(mini):
    # 1e-12: rounding of a mean over 4 million numbers
    np.testing.assert_allclose([mini.x_train.mean(), mini.x_train.std() - 1], 0, atol=1e-12)
    assert len(set(mini.scaling.mean)) == len(set(mini.scaling.deviation)) == 1


def test_loading_again_gives_the_same_bits_and_float32_is_the_default(mini):
    a, b = load("fashion-mini"), load("fashion-mini", seed=1)
    assert a.x_train.dtype == np.float32 and a.y_train.dtype == np.int64
    assert a.x_train.tobytes() == b.x_train.tobytes() == mini.x_train.astype("f4").tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["flip", "missing"])
def test_a_packaged_file_that_is_not_the_released_one_is_refused(tmp_path, monkeypatch, name, damage):
    shutil.copytree(sources.MINI, tmp_path / "mini")
    file = tmp_path / "mini" / f"{name}.gz"
    data = file.read_bytes()
    file.write_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])  # gzip's time, which no other check looks at
    if damage == "missing":
        file.unlink()
    monkeypatch.setattr(sources, "MINI", tmp_path / "mini")
    message = refused("fashion-mini")
    assert f"{name}.gz" in message and (damage == "missing" or "reinstall minilte" in message)


def test_least_squares_is_as_drawn_and_only_cast():
    data = prepared(LeastSquares(inputs=5, outputs=4, target_rank=2, noise=0.1).load(3), "float64")
    drawn = least_squares(3, inputs=5, outputs=4, rank=2, noise=0.1)
    assert data.x_train.tobytes() == drawn.x_train.tobytes()
    assert data.y_test.tobytes() == drawn.y_test.tobytes()
    assert load("least-squares").y_train.dtype == np.float32


def test_fashion_mnist_is_of_the_place_that_is_named_first(ten, tmp_path, monkeypatch):
    data = load("fashion-mnist", data_dir=str(ten))
    assert data.name == "fashion-mnist" and data.said == (f"fashion-mnist: of data-dir {ten}",)
    monkeypatch.setenv("MINILTE_DATA", str(ten))
    assert load("fashion-mnist").said == (f"fashion-mnist: of $MINILTE_DATA {ten}",)
    monkeypatch.delenv("MINILTE_DATA")
    monkeypatch.setattr(sources, "DEBIAN", str(ten))
    assert load("fashion-mnist").said == (f"fashion-mnist: of Debian's {ten}",)


@pytest.mark.parametrize("wrong", ["nowhere", "empty"])
@pytest.mark.parametrize("kind", ["data-dir", "$MINILTE_DATA"])
def test_a_place_that_is_named_and_wrong_is_refused_though_another_has_the_files(
    ten, tmp_path, monkeypatch, kind, wrong
):
    monkeypatch.setattr(sources, "DEBIAN", str(ten))
    (tmp_path / "empty").mkdir()
    if kind == "data-dir":
        message = refused("fashion-mnist", data_dir=str(tmp_path / wrong))
    else:
        monkeypatch.setenv("MINILTE_DATA", str(tmp_path / wrong))
        message = refused("fashion-mnist")
    assert message.startswith(f"fashion-mnist, {kind} {tmp_path / wrong}: ")
    assert "cannot be read" in message if wrong == "nowhere" else "holds no train-images" in message


def test_fashion_mnist_that_is_nowhere_names_the_place_and_the_package(ten, tmp_path):
    message = refused("fashion-mnist")
    assert f"Debian's {tmp_path / 'debian'}: cannot be read" in message and "dataset-fashion-mnist" in message


def test_a_place_with_some_of_the_files_names_the_others(ten):
    (ten / f"{NAMES[3]}.gz").unlink()
    assert f"holds no {NAMES[3]}" in refused("fashion-mnist", data_dir=str(ten))


def test_label_10_of_10_classes_of_fashion_mnist_is_refused(ten):
    write_idx(ten / f"{NAMES[1]}.gz", np.arange(1, 11, dtype=np.uint8))
    message = refused("fashion-mnist", data_dir=str(ten))
    assert f"{NAMES[1]}.gz position 9: label 10, expected 0 to 9" in message


def test_a_path_is_a_folder_of_idx_an_npz_or_a_csv(ten, tmp_path):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    (tmp_path / "b.CSV").write_text("".join(f"{a},{b},{c}\n" for (a, b), c in zip(x, y)))
    from_npz, from_csv = load(tmp_path / "a.npz"), load(str(tmp_path / "b.CSV"))
    assert from_npz.x_train.tobytes() == from_csv.x_train.tobytes() and from_csv.name == "b"
    assert load(str(ten)).name == "ten"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashin-mini", "did you mean fashion-mini?"),
        ("least_squares", "did you mean least-squares?"),
        ("zzz", "expected one of fashion-mini, fashion-mnist, least-squares, or a path"),
        ("", "no such name"),
        ("line\nbreak", "no such name"),
        ("zero\0byte", "expected a path without a zero byte"),
        ("missing.npz", "'missing.npz': no such name, folder or file; expected one of"),
        ("missing.csv", "'missing.csv': no such name, folder or file; expected one of"),
        ("zero\0byte.csv", "expected a path without a zero byte"),
        ("/dev/null", "expected a folder of IDX files, an .npz or a .csv"),
    ],
)
def test_what_is_neither_a_name_nor_a_dataset_is_refused(name, message):
    assert message in refused(name)


def test_images_of_an_npz_are_standardised_as_those_of_a_folder_of_idx(ten, tmp_path):
    x = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(10), x_test=x, y_test=np.arange(10))
    assert load(tmp_path / "a.npz").x_train.tobytes() == load(ten).x_train.tobytes()


@pytest.mark.parametrize("source", ["npz", "folder"])
def test_a_target_column_is_that_of_a_csv_alone(ten, tmp_path, source):
    np.savez(tmp_path / "a.npz", x=np.eye(4), y=np.arange(4))
    path = tmp_path / "a.npz" if source == "npz" else ten
    assert refused(path, target="1").startswith(f"target: {path} is no .csv, got '1'")


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_folder_named_like_a_file_is_read_as_a_folder(tmp_path, suffix):
    (tmp_path / f"a{suffix}").mkdir()
    assert "holds no train-images" in refused(str(tmp_path / f"a{suffix}"))


def test_an_unknown_dtype_is_refused():
    assert "dtype 'float16', expected float32 or float64" in refused("fashion-mini", dtype="float16")
