"""The model of cost: it finds factors that made the times, counts what a step needs, and is drawn."""

import numpy as np
import pytest

from minilte.bench import scale
from minilte.bench.scale import AXES, BASE, Point, Process, fit, work
from minilte.bench.step import shapes
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
    rows = size.batch // size.heads
    flops = [(2 * b * n * m * times, b == rows and min(n, m) > 2 * size.rank) for b, n, m, times in shapes(size)]
    # the products of the small output layer count with its own rank; the rest is exact
    assert dense + adapters + merge == pytest.approx(sum(flop for flop, _ in flops), rel=0.15)
    assert numbers == size.heads * scale.adapter_numbers(size) and heads == size.heads


def test_everything_is_reported_and_drawn(tmp_path):
    points, on = made_up(), [Process(1, 0.1, 0, 0), Process(2, 0.06, 8, 8)]
    grown = scale.report(points, *fit(points), on)
    assert grown["error"]["worst"] < 1e-6 and len(grown["points"]) == len(points)
    assert grown["floor"] == next(point.floor for point in points if point.size == BASE)
    text = "\n".join(scale.lines(grown))
    assert "8 bytes a merge counted, 8 by formula" in text and "dense 100 Gflop/s" in text
    picture(tmp_path, grown)
    assert {file.name for file in tmp_path.iterdir()} == {"scale.svg", "scale.png"}
