"""Pictures: drawn for every run there can be, without a warning, without a window, and never half written."""

import subprocess
import sys
import warnings
import xml.etree.ElementTree as xml

import numpy as np
import pytest

from minilte.core.errors import DiskTrouble
from minilte.show import plots
from minilte.run.session import Record

START = Record(0, 0, 0.0, [], 2.0, 2.5, 0.1)
RECORDS = [START, Record(2, 16, 0.1, [1.5, 1.7]), Record(4, 32, 0.2, [1.0, 1.2], 1.1, 1.6, 0.5)]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def assert_drawn(folder, *names):
    expected = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {found.name for found in folder.iterdir()} == expected
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert xml.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("records", "versus"),
    [(RECORDS, []), (RECORDS, RECORDS[::2]), ([START], []), ([START], [START])],
    ids=["alone", "baseline", "no-steps", "no-steps-of-both"],
)
def test_curves_are_drawn_for_any_records(tmp_path, records, versus):
    plots.loss(tmp_path / "plots", records, versus)
    plots.accuracy(tmp_path / "plots", records, versus)
    assert_drawn(tmp_path / "plots", "loss", "accuracy")


@pytest.mark.parametrize(
    ("change", "bounds"),
    [
        (np.eye(3, 4), {}),
        (np.zeros((3, 4)), {}),
        (np.ones((1, 4)), {"layer1": 1}),
        (np.ones((3, 4), "float32"), {"layer1": 1, "layer2": 9}),
    ],
    ids=["full-rank", "nothing-moved", "one-row", "rank-1-in-float32"],
)
def test_a_spectrum_is_drawn_for_any_change_of_the_weights(tmp_path, change, bounds):
    plots.spectrum(tmp_path, {"layer1": change, "layer2": np.zeros((2, 2))}, bounds)
    assert_drawn(tmp_path, "spectrum")


def test_a_matrix_too_large_for_its_singular_values_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "LIMIT", 2)
    monkeypatch.setattr(np.linalg, "svd", lambda change, **_: np.ones(1) if min(change.shape) <= 2 else 1 / 0)
    plots.spectrum(tmp_path, {"layer1": np.ones((3, 4)), "layer2": np.ones((2, 4))}, {})
    assert_drawn(tmp_path, "spectrum")


def test_a_picture_of_nothing_but_matrices_too_large_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "LIMIT", 2)
    plots.spectrum(tmp_path, {"layer1": np.ones((3, 4))}, {"layer1": 2})
    assert_drawn(tmp_path, "spectrum")


def test_a_folder_that_cannot_be_made_is_a_trouble_of_the_disk(tmp_path):
    (tmp_path / "plots").touch()
    with pytest.raises(DiskTrouble, match="plots"):
        plots.accuracy(tmp_path / "plots", RECORDS)


def test_drawing_needs_no_window_and_no_global_state(tmp_path):
    code = f"""import sys
from pathlib import Path
from minilte.show import plots
assert "matplotlib" not in sys.modules
plots.draw(Path({str(tmp_path / "plots")!r}), "line", lambda axes: axes.plot([1, 2]))
assert "matplotlib.pyplot" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert_drawn(tmp_path / "plots", "line")


def test_a_curve_is_the_values_of_a_field_over_samples():
    assert plots.curve(plots.evaluated(RECORDS), "test_accuracy", 100) == ([0, 32], [10.0, 50.0])
