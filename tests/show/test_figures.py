"""Figures for a page: text is text, colours are the page's, and any curve can be drawn."""

import re
import xml.etree.ElementTree as xml

import numpy as np
import pytest
import seen
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.run.observe import Record
from minilte.show import figures
from minilte.show.figures import Axes, Line

START = Record(0, 0, 0.0, [], 2.0, 2.5, 0.1)
RECORDS = [START, Record(2, 16, 0.1, [1.5, None]), Record(4, 32, 0.2, [1.0, 1.2], 1.1, 1.6, 0.5)]


def words(svg):
    return [element.text for element in xml.fromstring(svg).iter("text")]


def test_a_figure_is_one_element_whose_colours_font_and_ids_are_the_pages():
    svg = figures.losses("a", RECORDS, 8)
    root = xml.fromstring(svg)  # no namespace: in HTML it needs none
    assert root.tag == "svg" and set(root.attrib) == {"viewBox"}
    assert not {"style", "metadata"} & {element.tag for element in root.iter()}
    assert "font-family" not in svg and "#0a0b" not in svg and "var(--tone-0)" in svg
    assert not re.search(r"(stroke|fill): (#|rgb)", svg)
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert ids and all(one.startswith("a-") for one in ids)
    assert {"loss", "samples", "steps", "heads, each", "main, training", "main, held out"} <= set(words(svg))


def test_figures_of_other_names_share_nothing_and_the_same_one_is_the_same():
    one, other = (set(re.findall(r'id="([^"]*)"', figures.losses(name, RECORDS, 8))) for name in ("a", "b"))
    assert one and not one & other
    assert figures.losses("a", RECORDS, 8) == figures.losses("a", RECORDS, 8)


@pytest.mark.parametrize("records", [RECORDS, [START], RECORDS[:2]], ids=["all", "start", "one-evaluation"])
def test_any_records_are_drawn(records):
    for svg in (figures.losses("a", records, 8), figures.accuracy("a", records, 8)):
        assert xml.fromstring(svg) is not None


def test_many_heads_become_a_range_and_few_a_line_each():
    def records(heads):
        losses = [[1.0 + n / heads for n in range(heads)], [None] * heads, [1.0] * heads]
        return [START, *(Record(i, 8 * i, 0.1, each) for i, each in enumerate(losses, 1))]

    lines, band = "heads, each", "heads, from least to most"
    assert lines in words(figures.losses("a", records(figures.ALONE), 8))
    many = words(figures.losses("a", records(figures.ALONE + 1), 8))
    assert band in many and lines not in many


@given(st.integers(0, 3000))
@settings(max_examples=50)
def test_a_long_line_keeps_its_ends_its_order_and_no_wide_hole(length):
    kept = figures.thinned([3 * place for place in range(length)])
    assert len(kept) == min(length, figures.POINTS)
    assert not length or (kept[0], kept[-1]) == (0, 3 * (length - 1))
    steps = np.diff(kept) / 3
    assert all(steps >= 1) and all(steps <= np.ceil(length / figures.POINTS) + 1)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, 100.0], {"1", "10", "100"}),
        ([0.31, 0.48], {"0.4"}),
        ([2.300, 2.301], {"2.3"}),  # too near for a logarithmic axis
        ([0.0, 0.0], {"0"}),
        ([0.05, 3.0], {"0.05", "0.1", "0.2", "0.5", "1", "2"}),
    ],
    ids=lambda given: str(sorted(given)),
)
def test_a_logarithmic_axis_has_plain_numbers(values, shown):
    svg = figures.chart("a", [Line([0, 1], values)], Axes("x", "y", log=True))
    assert shown <= set(words(svg))


def drawn(of, *given):
    """The figure that `of` draws."""
    with seen.pictures() as found:
        of("a", *given)
    return found["a"]


def test_spectra_are_drawn_by_their_steps_the_earlier_the_fainter_and_end_at_the_bound():
    spectra = [("step 2", np.array([2.0, 1.0])), ("step 4", np.array([3.0, 2.0, 1.0]))]
    for bound, dotted in ((3, [3.5]), (None, [])):
        figure = drawn(figures.growth, spectra, bound)
        (axes,) = figure.axes
        assert {label: seen.points(line) for label, line in seen.lines(axes).items()} == {
            "step 2": [(1, 2), (2, 1)],
            "step 4": [(1, 3), (2, 2), (3, 1)],
        }
        early, late = (line.get_alpha() for line in axes.get_lines()[:2])
        assert early < late == 1 and seen.legend(axes) == ["step 2", "step 4"]
        assert [(x, dash) for x, _, dash in seen.verticals(axes)] == [(x, ":") for x in dotted]
        assert seen.axes_of(figure) == ("index", "singular value of Wₜ − W₀", "log")


KNOWN = [
    START,
    Record(2, 16, 0.1, [1.5, None]),
    Record(4, 32, 0.2, [1.0, 1.2], 1.1, 1.6, 0.5),
    Record(6, 48, 0.3, [0.5, 0.7], 0.9, 1.4, 0.75),
]


def test_losses_are_those_of_the_records_over_samples_with_steps_above():
    figure = drawn(figures.losses, KNOWN, 8)
    (axes,) = figure.axes
    lines, (second,) = seen.lines(axes), seen.unnamed(axes)
    assert {label: (seen.points(line), seen.tone(line), line.dash) for label, line in lines.items()} == {
        "heads, each": ([(16, 1.5), (32, 1.0), (48, 0.5)], figures.FAINT, "-"),
        "main, training": ([(0, 2.0), (32, 1.1), (48, 0.9)], 1, "--"),
        "main, held out": ([(0, 2.5), (32, 1.6), (48, 1.4)], 2, "-"),
    }
    assert seen.points(second) == [(32, 1.2), (48, 0.7)] and seen.tone(second) == figures.FAINT
    assert seen.axes_of(figure) == ("samples", "loss", "log")
    assert steps_above(axes)(48) == 6 and seen.legend(axes) == list(lines)


def steps_above(axes):
    """samples -> steps of the second axis."""
    (above,) = axes.child_axes
    assert above.get_xlabel() == "steps"
    there, back = above._functions
    assert back(there(40)) == 40
    return there


def test_accuracy_is_that_of_the_records_in_percent_with_steps_above():
    figure = drawn(figures.accuracy, KNOWN, 8)
    (axes,) = figure.axes
    (line,) = seen.unnamed(axes)
    assert seen.points(line) == [(0, 10), (32, 50), (48, 75)]
    assert seen.axes_of(figure) == ("samples", "held-out accuracy (%)", "linear")
    assert steps_above(axes)(16) == 2 and not seen.legend(axes)


def test_the_range_of_many_heads_goes_from_the_least_to_the_most_of_every_round():
    heads = figures.ALONE + 1
    losses = [[1.0 + n for n in range(heads)], [None] * heads, [None, *(0.5 * n for n in range(1, heads))]]
    records = [START, *(Record(i, 8 * i, 0.1, each) for i, each in enumerate(losses, 1))]
    (axes,) = drawn(figures.losses, records, 8).axes
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(8, 1), (8, heads), (24, 0.5), (24, 0.5 * (heads - 1))}
    assert band.get_label() == "heads, from least to most" and "main, training" in seen.lines(axes)


def test_a_measure_is_drawn_layer_by_layer_over_samples():
    def record(samples, **layers):
        of = {name: {"cosine": value} for name, value in layers.items()}
        return Record(samples // 8, samples, 0.1, [1.0], measures={"layers": of})

    records = [START, record(16, a=0.5, b={"undefined": "no"}), record(32, a=0.25, b=0.125)]
    figure = drawn(figures.over_time, records, "cosine", "cosine between heads", ["a", "b"])
    (axes,) = figure.axes
    assert {name: seen.points(line) for name, line in seen.lines(axes).items()} == {
        "a": [(16, 0.5), (32, 0.25)],
        "b": [(32, 0.125)],
    }
    assert [(seen.tone(line), line.dash) for line in seen.lines(axes).values()] == [(1, "-"), (2, "--")]
    assert seen.axes_of(figure) == ("samples", "cosine between heads", "linear")


def test_lines_of_six_colours_and_four_dashes_are_told_apart():
    assert len({figures.of_run(number) for number in range(12)}) == 12


def test_a_gap_is_left_where_a_measure_is_undefined():
    def record(step, value):
        return Record(step, 8 * step, 0.1, [1.0], measures={"layers": {"layer1": {"cosine": value}}})

    records = [START, record(1, 0.1), record(2, 0.2), record(3, {"undefined": "no"}), record(4, 0.3), record(5, 0.2)]
    svg = figures.over_time("a", records, "cosine", "cosine", ["layer1"])
    line = next(path for path in re.findall(r'<path d="([^"]*)" clip-path', svg))
    assert line.count("M") == 2 and line.count("L") == 2


def test_a_singular_value_is_drawn_from_where_it_is_known():
    layers = [{}, {"sigma_1": 1.0}, {"sigma_1": 2.0, "sigma_2": 0.5}, {"sigma_1": 3.0, "sigma_2": 0.7}]
    records = [Record(i, 8 * i, 0.1, [1.0], measures={"layers": {"layer1": one}}) for i, one in enumerate(layers)]
    figure = drawn(figures.spectrum_over_time, records, "layer1")
    lines = seen.lines(*figure.axes)
    assert {name: seen.points(line) for name, line in lines.items()} == {
        "1": [(8, 1), (16, 2), (24, 3)],
        "2": [(16, 0.5), (24, 0.7)],
    }
    assert seen.axes_of(figure) == ("samples", "singular values of Wₜ − W₀", "log")
