"""The pictures of a run show its records, point by point, and are drawn for every run there can be without a warning."""

import xml.etree.ElementTree as xml

import numpy as np
import pytest
import seen
import tiny

from minilte.core.errors import BadInput
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


@pytest.mark.parametrize("validate", [False, True])
def test_both_lines_of_accuracy_are_of_the_rows_that_were_held_out(place, validate):
    """With rows to validate the test set is looked at once, at the end."""
    once = dict(valid_loss=1.0, valid_accuracy=0.5, test_accuracy=None) if validate else dict(test_accuracy=0.5)
    mine = [START._replace(samples=8 * n, **once) for n in range(3)]
    theirs = [
        record._replace(**{name: 0.25 for name in once if name.endswith("accuracy") and once[name]})
        for record in mine
    ]
    theirs[-1] = theirs[-1]._replace(test_accuracy=0.25)
    with seen.pictures() as drawn:
        pictures.accuracy(place, mine, theirs)
        pictures.loss(place, mine, theirs)
    lines = seen.lines(drawn["accuracy"].axes[0])
    for name, value in (("this run", 50.0), ("full rank", 25.0)):
        assert seen.points(lines[name]) == [(0, value), (8, value), (16, value)]
    losses = seen.lines(drawn["loss"].axes[0])
    assert [len(losses[f"{of}, held out"].x) for of in ("main", "full rank")] == [3, 3]


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


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "plots").touch()
    with pytest.raises(BadInput, match="plots"):
        pictures.accuracy(tmp_path / "plots", RECORDS)


def test_a_curve_is_the_values_of_a_field_over_samples():
    assert pictures.curve(pictures.evaluations(RECORDS), "test_accuracy", 100) == ([0, 32], [10.0, 50.0])


# ---------------------------------------------------------------- what is drawn


KNOWN = [
    Record(0, 0, 0.0, [], 2.0, 2.5, 0.1),
    Record(2, 16, 0.1, [1.5, 1.75]),
    Record(4, 32, 0.2, [1.0, None], 1.1, 1.6, 0.5),
    Record(6, 48, 0.3, [0.5, 0.25], 0.9, 1.4, 0.75),
]
OTHER = [Record(0, 0, 0.0, [], 2.1, 2.6, 0.2), Record(8, 64, 0.3, [0.5], 0.3, 0.7, 0.625)]


def test_the_losses_are_those_of_the_records_over_their_samples():
    with seen.pictures() as drawn:
        pictures.loss("nowhere", KNOWN, OTHER)
    (axes,) = drawn["loss"].axes
    lines = seen.lines(axes)
    assert [seen.points(line) for line in (lines.pop("heads, local"), *seen.unnamed(axes))] == [
        [(16, 1.5), (32, 1.0), (48, 0.5)],
        [(16, 1.75), (48, 0.25)],
    ]
    assert {name: (seen.points(line), line.colour, line.dash) for name, line in lines.items()} == {
        "main, training": ([(0, 2.0), (32, 1.1), (48, 0.9)], "C0", "-"),
        "main, held out": ([(0, 2.5), (32, 1.6), (48, 1.4)], "C1", "-"),
        "full rank, training": ([(0, 2.1), (64, 0.3)], "C0", "--"),
        "full rank, held out": ([(0, 2.6), (64, 0.7)], "C1", "--"),
    }
    assert seen.axes_of(drawn["loss"]) == ("samples", "loss", "log")
    assert seen.legend(axes) == ["heads, local", *lines]


def test_the_accuracy_is_that_of_the_records_in_percent():
    with seen.pictures() as drawn:
        pictures.accuracy("nowhere", KNOWN, OTHER)
    (axes,) = drawn["accuracy"].axes
    assert {name: (seen.points(line), line.dash) for name, line in seen.lines(axes).items()} == {
        "this run": ([(0, 10), (32, 50), (48, 75)], "-"),
        "full rank": ([(0, 20), (64, 62.5)], "--"),
    }
    assert seen.axes_of(drawn["accuracy"]) == ("samples", "held-out accuracy (%)", "linear")
    assert seen.legend(axes) == ["this run", "full rank"]


def test_a_spectrum_is_that_of_its_layer_and_ends_at_its_own_bound():
    moved = {"layer1": np.diag([8.0, 4.0, 2.0]), "layer2": np.diag([3.0, 5.0])}
    with seen.pictures() as drawn:
        pictures.spectrum("nowhere", moved, {"layer1": 2, "layer2": 1})
    (axes,) = drawn["spectrum"].axes
    lines = seen.lines(axes)
    assert {name: seen.points(line) for name, line in lines.items()} == {
        "layer1, 3 x 3": [(1, 8), (2, 4), (3, 2)],
        "layer2, 2 x 2": [(1, 5), (2, 3)],
    }
    colours = [line.colour for line in lines.values()]
    # between the last index that law L2 allows a value at and the next
    assert seen.verticals(axes) == [(2.5, colours[0], ":"), (1.5, colours[1], ":")] and colours[0] != colours[1]
    assert seen.axes_of(drawn["spectrum"]) == ("index", "singular value of $W_t - W_0$", "log")
    assert seen.legend(axes) == ["dotted: rank bound", *lines]


@pytest.mark.parametrize(("bound", "dotted"), [(3, [3.5]), (4, [])])
def test_a_bound_beyond_the_last_singular_value_is_not_drawn(bound, dotted):
    with seen.pictures() as drawn:
        pictures.spectrum("nowhere", {"layer1": np.eye(3)}, {"layer1": bound})
    assert [x for x, *_ in seen.verticals(*drawn["spectrum"].axes)] == dotted


def test_measures_are_those_of_the_records_layer_by_layer_with_gaps():
    def record(samples, **layers):
        of = {name: dict(zip(("effective_rank", "cosine", "grassmann"), values)) for name, values in layers.items()}
        return Record(samples // 8, samples, 0.1, [1.0], measures={"layers": of})

    gap = {"undefined": "no"}
    records = [
        START,
        record(16, a=(1.0, gap, 3.0), b=(4.0, 5.0, 6.0)),
        record(32, a=(7.0, 8.0, 9.0), b=(2.0, gap, 1.0)),
    ]
    with seen.pictures() as drawn:
        pictures.measures("nowhere", records)
    panels = {axes.get_ylabel(): axes for axes in drawn["measures"].axes}
    assert {
        label: {name: seen.points(line) for name, line in seen.lines(axes).items()} for label, axes in panels.items()
    } == {
        "effective rank of $W_t - W_0$": {"a": [(16, 1), (32, 7)], "b": [(16, 4), (32, 2)]},
        "cosine between heads": {"a": [(32, 8)], "b": [(16, 5)]},
        "Grassmann distance": {"a": [(16, 3), (32, 9)], "b": [(16, 6), (32, 1)]},
    }
    assert {axes.get_xlabel() for axes in panels.values()} == {"samples"}
    assert seen.legend(drawn["measures"].axes[0]) == ["a", "b"]


def test_the_pictures_of_a_run_are_of_its_own_records_and_of_its_change(tmp_path):
    session, dense, records = trained(measure=True)
    with seen.pictures() as drawn:
        pictures.run_pictures(tmp_path, session, dense, records, None, session.built.method.facts.bound)
    held_out = seen.lines(*drawn["loss"].axes)["main, held out"]
    assert seen.points(held_out) == [(one.samples, one.test_loss) for one in records if one.test_loss is not None]
    change = np.asarray(dense["layer1"].W, float) - session.built.task.weights["layer1"].W
    spectrum = seen.lines(*drawn["spectrum"].axes)["layer1, 4 x 6"]
    np.testing.assert_allclose(spectrum.y, np.linalg.svd(change, compute_uv=False), rtol=1e-5, atol=1e-12)
    assert [x for x, *_ in seen.verticals(*drawn["spectrum"].axes)] == [4.5]  # two heads of rank 2
    ranks = seen.lines(drawn["measures"].axes[0])["layer1"]
    of = [(one.samples, one.measures["layers"]["layer1"]["effective_rank"]) for one in records if one.measures]
    assert seen.points(ranks) == [(samples, value) for samples, value in of if not isinstance(value, dict)]
    assert set(drawn) == {"loss", "spectrum", "measures"}


CHANGING = [
    START,
    Record(2, 16, 0.1, [1.5, 1.7, None], ranks={"layer1": 3, "layer2": 2}, trust={"2": 0.0}),
    Record(4, 32, 0.2, [1.0, None, None], ranks={"layer1": 1, "layer2": 2}, trust={"1": 0.0, "2": 0.0}),
    Record(6, 48, 0.3, [0.9, 0.9, 0.9], ranks={"layer1": 4, "layer2": 1}),
]


def test_ranks_and_heads_that_change_are_those_of_the_records():
    with seen.pictures() as drawn:
        pictures.changing("nowhere", CHANGING)
    ranks, heads = drawn["changing"].axes
    lines = seen.lines(ranks)
    assert seen.points(lines["layer1"]) == [(16, 3), (32, 1), (48, 4)]
    assert seen.points(lines["layer2"]) == [(16, 2), (32, 2), (48, 1)]
    (line,) = seen.unnamed(heads)
    assert seen.points(line) == [(16, 2), (32, 1), (48, 3)]
    assert (ranks.get_xlabel(), ranks.get_ylabel()) == ("samples", "rank of the adapters")
    assert heads.get_ylabel() == "heads that took part"
    for panel in (ranks, heads):  # what is counted has whole numbers, from 0
        assert panel.get_ylim()[0] == 0 and all(tick == round(tick) for tick in panel.get_yticks())


def test_ranks_hold_from_a_merge_on_and_heads_took_part_up_to_it():
    with seen.pictures() as drawn:
        pictures.changing("nowhere", CHANGING)
    ranks, heads = ({line.get_drawstyle() for line in axes.get_lines()} for axes in drawn["changing"].axes)
    assert (ranks, heads) == ({"steps-post"}, {"steps-pre"})


def test_a_run_whose_ranks_change_has_a_picture_of_them(tmp_path):
    pictures.run_pictures(tmp_path, *trained(**tiny.KINDS["dynamic"]), None, {})
    assert_drawn(tmp_path / "plots", "changing", "loss", "spectrum")
