"""The pictures of a run are drawn for every run there can be, without a warning."""

import xml.etree.ElementTree as xml

import numpy as np
import pytest
import tiny

from minilte.core.errors import DiskTrouble
from minilte.job.records import read_records
from minilte.run.observe import Record, dense_weights
from minilte.run.session import advance, first_state
from minilte.show import pictures

START = Record(0, 0, 0.0, [], 2.0, 2.5, 0.1)
RECORDS = [START, Record(2, 16, 0.1, [1.5, 1.7]), Record(4, 32, 0.2, [1.0, 1.2], 1.1, 1.6, 0.5)]


def assert_drawn(folder, *names):
    expected = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {found.name for found in folder.iterdir()} == expected
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert xml.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")


def trained(**changes):
    """(session, final dense weights, records) of a tiny run in memory."""
    session = tiny.session(**changes)
    records, (*_, state) = zip(*advance(session, first_state(session)))
    return session, dense_weights(session.built.method, state.main), records


@pytest.mark.parametrize("kind", ["lte", "full", "reset-b", "residual", "norms-without-biases"])
def test_a_run_has_a_picture_of_its_losses_and_its_spectrum(tmp_path, kind):
    pictures.run_pictures(tmp_path, *trained(**tiny.KINDS[kind]), None, {})
    assert_drawn(tmp_path / "plots", "loss", "spectrum")


def test_what_was_measured_and_the_accuracy_of_classes_have_their_own(tmp_path):
    session, dense, records = trained(measure=True)
    data = session.built.data._replace(classes=4)
    classifies = session._replace(built=session.built._replace(data=data))
    scored = [record if record.test_loss is None else record._replace(test_accuracy=0.5) for record in records]
    pictures.run_pictures(tmp_path, classifies, dense, scored, None, {"layer1": 4})
    assert_drawn(tmp_path / "plots", "loss", "accuracy", "measures", "spectrum")


def test_a_baseline_is_drawn_from_its_own_records(tmp_path, place, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "loss", lambda place, records, versus: drawn.append((records, versus)))
    session, dense, records = trained(versus="full")
    pictures.run_pictures(place / "versus", session, dense, records, {"some": "summary"}, {})
    assert drawn == [(records, read_records(place / "versus" / "versus-full" / "metrics.jsonl"))]


@pytest.mark.parametrize(
    ("records", "versus"),
    [(RECORDS, []), (RECORDS, RECORDS[::2]), ([START], []), ([START], [START])],
    ids=["alone", "baseline", "no-steps", "no-steps-of-both"],
)
def test_curves_are_drawn_for_any_records(tmp_path, records, versus):
    pictures.loss(tmp_path / "plots", records, versus)
    pictures.accuracy(tmp_path / "plots", records, versus)
    assert_drawn(tmp_path / "plots", "loss", "accuracy")


@pytest.mark.parametrize(
    "layers", [{}, {"layer1": dict.fromkeys(("effective_rank", "cosine", "grassmann"), {"undefined": "no"})}], ids=str
)
def test_measures_are_drawn_where_there_are_none(tmp_path, layers):
    pictures.measures(tmp_path, [START, START._replace(measures={"layers": layers})] if layers else [START])
    assert_drawn(tmp_path, "measures")


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
    pictures.spectrum(tmp_path, {"layer1": change, "layer2": np.zeros((2, 2))}, bounds)
    assert_drawn(tmp_path, "spectrum")


def test_a_matrix_too_large_for_its_singular_values_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST", 2)
    monkeypatch.setattr(np.linalg, "svd", lambda change, **_: np.ones(1) if min(change.shape) <= 2 else 1 / 0)
    pictures.spectrum(tmp_path, {"layer1": np.ones((3, 4)), "layer2": np.ones((2, 4))}, {})
    assert_drawn(tmp_path, "spectrum")


def test_a_picture_of_nothing_but_matrices_too_large_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST", 2)
    pictures.spectrum(tmp_path, {"layer1": np.ones((3, 4))}, {"layer1": 2})
    assert_drawn(tmp_path, "spectrum")


def test_a_folder_that_cannot_be_made_is_a_trouble_of_the_disk(tmp_path):
    (tmp_path / "plots").touch()
    with pytest.raises(DiskTrouble, match="plots"):
        pictures.accuracy(tmp_path / "plots", RECORDS)


def test_a_curve_is_the_values_of_a_field_over_samples():
    assert pictures.curve(pictures.evaluations(RECORDS), "test_accuracy", 100) == ([0, 32], [10.0, 50.0])
