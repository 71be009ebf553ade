import gzip
import os

import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.data import cut_fashion_mini
from minilte.data.cut_fashion_mini import CLASSES, cut, first_of_each, main
from minilte.data.idx import IMAGES, LABELS, NAMES, read_idx, write_idx
from minilte.data.sources import DEBIAN, MINI

FULL = os.environ.get("MINILTE_DATA", DEBIAN)


def test_the_first_of_each_class_keep_their_order():
    y = stream(0, "check").integers(0, CLASSES, 500)
    rows = first_of_each(y, 20)
    assert np.all(np.diff(rows) > 0) and np.bincount(y[rows]).tolist() == [20] * CLASSES
    for c in range(CLASSES):
        assert rows[y[rows] == c].tolist() == np.flatnonzero(y == c)[:20].tolist()


def test_a_class_with_too_few_samples_is_refused():
    with pytest.raises(BadInput, match="class 9 has 1 samples, expected at least 2"):
        first_of_each(np.append(np.arange(9).repeat(2), 9), 2)


def test_images_go_with_their_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(cut_fashion_mini, "TRAIN", 2)
    monkeypatch.setattr(cut_fashion_mini, "TEST", 1)
    y = np.tile(np.arange(CLASSES, dtype=np.uint8), 3)
    (tmp_path / "full").mkdir()
    for name in NAMES:
        write_idx(tmp_path / "full" / name, y[:, None, None] if "images" in name else y)
    cut(tmp_path / "full", tmp_path / "out")
    for images, labels, count in ((NAMES[0], NAMES[1], 20), (NAMES[2], NAMES[3], 10)):
        pixels = read_idx(tmp_path / "out" / f"{images}.gz", IMAGES).ravel()
        assert pixels.tolist() == y[:count].tolist()
        assert pixels.tolist() == read_idx(tmp_path / "out" / f"{labels}.gz", LABELS).tolist()


def test_a_bad_source_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cut", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("minilte: error: ")


@pytest.mark.skipif(not os.path.isdir(FULL), reason="the full Fashion-MNIST is not installed")
def test_cutting_again_gives_the_packaged_images_and_the_same_bytes_each_time(tmp_path):
    for out in ("a", "b"):
        cut(FULL, tmp_path / out)
    for name in (f"{name}.gz" for name in NAMES):
        first = (tmp_path / "a" / name).read_bytes()
        assert first == (tmp_path / "b" / name).read_bytes()
        # unpacked, because zlib versions pack the same bytes in different ways
        assert gzip.decompress(first) == gzip.decompress((MINI / name).read_bytes())
