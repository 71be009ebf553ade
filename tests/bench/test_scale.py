"""The model of cost: it finds factors that made the times, counts what a step needs, and is drawn."""

import numpy as np
import pytest
import seen

from minilte.bench import scale, step
from minilte.bench.scale import AXES, BASE, Point, Process, fit, work
from minilte.bench.step import shapes
from minilte.bench.timing import Pair, Spread
from minilte.comm.meetings import EVERYONE
from minilte.cost.meetings import merge_bytes
from minilte.show.scale import picture

FACTORS = [1e-11, 2e-11, 3e-11, 1e-8, 1e-4]


def made_up():
    sizes = [(axis, size) for axis, sizes in AXES.items() for size in sizes]
    seconds = [float(np.dot(FACTORS, work(size))) for _, size in sizes]
    return [
        Point(axis, scale.axis_value(axis, size), size, one, one / 2) for (axis, size), one in zip(sizes, seconds)
    ]


def test_the_fit_finds_the_factors_that_made_the_times():
    factors, expected = fit(made_up())
    np.testing.assert_allclose(factors, FACTORS, rtol=1e-5)  # the columns are nearly, not quite, independent
    np.testing.assert_allclose(expected, [point.seconds for point in made_up()], rtol=1e-9)


@pytest.mark.parametrize("size", [BASE, BASE._replace(every=1, heads=2, rank=128)], ids=str)
def test_the_work_of_the_model_is_that_of_the_products(size):
    dense, adapters, merge, numbers, heads = work(size)
    counted = dict.fromkeys(("dense", "adapters", "merge"), 0.0)
    layers, rows = list(zip(size.widths, size.widths[1:])), size.batch // size.heads
    for i, (n, m) in enumerate(layers):
        r = min(size.rank, n, m)
        counted["dense"] += 2 * size.heads * rows * n * m * (2 if i else 1)  # x W^T, and dy W but for the first
        # of now and then x A^T, (x A^T) B^T, dy B and u A, which the first layer does not need; of now dA and dB
        counted["adapters"] += 2 * size.heads * rows * (4 * r * n + 4 * r * m + r * n + r * m)
        counted["merge"] += 2 * m * (2 * r * size.heads) * n / size.every
    assert (dense, adapters, merge) == tuple(counted.values())
    assert numbers == size.heads * scale.adapter_numbers(size) and heads == size.heads
    unneeded = 2 * size.heads * rows * 2 * min(size.rank, *layers[0]) * layers[0][0]
    whole = sum(2 * b * n * m * times for b, n, m, times in shapes(size))
    assert dense + adapters + merge == pytest.approx(whole + unneeded, rel=1e-12)  # floating-point counts


def test_everything_is_reported_and_drawn(tmp_path):
    points, on = made_up(), [Process(1, 0.1, 0, 0), Process(2, 0.06, 8, 8)]
    grown = scale.report(points, *fit(points), on)
    assert grown["error"]["worst"] < 1e-6 and len(grown["points"]) == len(points)
    assert grown["floor"] == next(point.floor for point in points if point.size == BASE)
    text = "\n".join(scale.lines(grown))
    assert "8 bytes a merge counted, 8 by formula" in text and "dense 100 Gflop/s" in text
    picture(tmp_path, grown)
    assert {file.name for file in tmp_path.iterdir()} == {"scale.svg", "scale.png"}


GROWN = {
    "base": "a size",
    "floor": 0.04,
    "points": [
        {"axis": "width", "at": 128, "seconds": 0.001, "floor": 0.0005, "fit": 0.0015},
        {"axis": "width", "at": 256, "seconds": 0.004, "floor": 0.002, "fit": 0.003},
        {"axis": "heads", "at": 2, "seconds": 0.01, "floor": 0.008, "fit": 0.012},
        {"axis": "rank", "at": 4, "seconds": 0.02, "floor": 0.01, "fit": 0.03},
        {"axis": "every", "at": 3, "seconds": 0.03, "floor": 0.02, "fit": 0.04},
        {"axis": "batch", "at": 64, "seconds": 0.05, "floor": 0.03, "fit": 0.06},
    ],
    "processes": [
        {"count": 1, "seconds": 0.1, "sent": 0, "formula": 0},
        {"count": 2, "seconds": 0.06, "sent": 1_234, "formula": 1_235},
    ],
    "factors": {"dense": 1e-11, "adapters": 2e-11, "merge": 4e-11, "optimizer": 3e-9, "head": 5e-4},
    "error": {"median": 0.04, "worst": 0.2},
}


def test_a_point_is_reported_with_its_own_time_floor_and_fit():
    points = [point._replace(floor=point.seconds / (3 + i)) for i, point in enumerate(made_up())]
    expected = [2 * point.seconds if i else 1.5 * point.seconds for i, point in enumerate(points)]
    grown = scale.report(points, FACTORS, expected, [Process(2, 0.06, 7, 8)])
    for i, (point, told) in enumerate(zip(points, grown["points"], strict=True)):
        of = dict(axis=point.axis, at=point.at, seconds=point.seconds, floor=point.floor, fit=expected[i])
        assert told == of
    assert grown["error"] == {"median": 1.0, "worst": 1.0} and grown["processes"] == [
        {"count": 2, "seconds": 0.06, "sent": 7, "formula": 8}
    ]
    assert list(grown["factors"].items()) == list(zip(("dense", "adapters", "merge", "optimizer", "head"), FACTORS))


def test_a_line_has_the_milliseconds_of_its_point_under_their_names():
    _, head, *rows, fitted, off = (seen.columns(line) for line in scale.lines(GROWN))
    assert head == ["ms a step", "the fit", "floor"]
    assert rows == [
        ["width", "128", "1.00", "1.50", "0.50"],
        ["width", "256", "4.00", "3.00", "2.00"],
        ["heads", "2", "10.00", "12.00", "8.00"],
        ["rank", "4", "20.00", "30.00", "10.00"],
        ["every", "3", "30.00", "40.00", "20.00"],
        ["batch", "64", "50.00", "60.00", "30.00"],
        ["processes", "1", "100.00", "0 bytes a merge counted, 0 by formula"],
        ["processes", "2", "60.00", "1,234 bytes a merge counted, 1,235 by formula"],
    ]
    rates = "dense 100 Gflop/s, adapters 50 Gflop/s, merge 25 Gflop/s"
    assert fitted == [f"fitted: {rates}, 3.0 ns a number of a factor, 500 us a head"]
    assert off == ["off by 4 % at the median, 20 % at most"]


def test_the_picture_has_a_panel_for_each_axis_and_the_processes():
    with seen.pictures() as drawn:
        picture("nowhere", GROWN)
    panels = {axes.get_xlabel(): axes for axes in drawn["scale"].axes}
    assert list(panels) == ["width", "heads", "rank", "T", "batch", "MPI processes"]
    for name, axes in list(panels.items())[:-1]:
        here = [point for point in GROWN["points"] if point["axis"] == {"T": "every"}.get(name, name)]
        for label, key in (("a step", "seconds"), ("the fit", "fit"), ("its products alone", "floor")):
            assert seen.points(seen.lines(axes)[label]) == [(point["at"], 1e3 * point[key]) for point in here]
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(point["at"]) for point in here]
    (line,) = seen.unnamed(panels["MPI processes"])
    assert seen.points(line) == [(1, 100), (2, 60)] and seen.levels(panels["MPI processes"]) == [40]
    assert {axes.get_ylabel() for axes in panels.values()} == {"ms a step"}
    assert seen.legend(panels["width"]) == ["a step", "the fit", "its products alone"]
    dashes = [line.dash for line in seen.lines(panels["width"]).values()]
    assert dashes == ["-", ":", "-"]


def test_a_point_of_an_axis_is_measured_at_its_own_size_for_a_step(monkeypatch):
    asked = []

    def paired(work, alone, runs):
        asked.append((work, alone, runs))
        size = work[1]
        return Pair(
            *(Spread(seconds * size.every, 0, 0, 1) for seconds in (size.batch, size.rank)), Spread(0, 0, 0, 1)
        )

    monkeypatch.setattr(scale.step, "rounds", lambda size, threads: ("rounds", size, threads))
    monkeypatch.setattr(scale.step, "products", lambda size, threads: ("products", size, threads))
    monkeypatch.setattr(scale, "paired", paired)
    points = scale.measure(3)
    assert asked == [(("rounds", one.size, 2), ("products", one.size, 2), 3) for one in points]
    assert [(one.axis, one.size) for one in points] == [
        (axis, size) for axis, sizes in AXES.items() for size in sizes
    ]
    for one in points:  # a round has T steps
        assert one.seconds == pytest.approx(one.size.batch) and one.floor == pytest.approx(one.size.rank)
        assert one.at == (one.size.widths[1] if one.axis == "width" else getattr(one.size, one.axis))


def test_the_bytes_of_processes_are_those_of_the_templates_of_a_merge(monkeypatch):
    monkeypatch.setattr(scale, "measured_on", lambda count, size: (count * size.every, 5 * count))
    made = step.method(BASE, step.task(BASE._replace(batch=8)))
    for one in scale.processes():
        expected = merge_bytes(made, EVERYONE, made.begin(), BASE.heads, one.count)
        assert one == (one.count, one.count, 5 * one.count, sum(expected.values()))
