"""Figures for a page: text is text, colours are the page's, and any curve can be drawn."""

import re
import xml.etree.ElementTree as xml

import numpy as np
import pytest
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


@given(st.lists(st.integers(), max_size=3000))
@settings(max_examples=50)
def test_a_long_line_keeps_its_ends_and_its_order(values):
    kept = figures.thinned(list(enumerate(values)))
    assert len(kept) == min(len(values), figures.POINTS) and sorted(kept) == list(kept)
    assert not values or (kept[0], kept[-1]) == ((0, values[0]), (len(values) - 1, values[-1]))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, 100.0], {"1", "10", "100"}),
        ([0.31, 0.48], {"0.4"}),
        ([2.300, 2.301], {"2.3"}),  # too near for a logarithmic axis
        ([0.0, 0.0], {"0"}),
        ([0.05, 3.0], {"0.05", "0.1", "0.2", "0.5", "1", "2"}),
    ],
    ids=str,
)
def test_a_logarithmic_axis_has_plain_numbers(values, shown):
    svg = figures.chart("a", [Line([0, 1], values)], Axes("x", "y", log=True))
    assert shown <= set(words(svg))


def test_the_bound_is_a_dotted_line():
    spectra = [("step 2", np.array([2.0, 1.0])), ("step 4", np.array([3.0, 2.0, 1.0]))]
    with_bound, without = figures.growth("a", spectra, 3), figures.growth("a", spectra, None)
    assert with_bound.count("stroke-dasharray") == without.count("stroke-dasharray") + 1
    assert {"step 2", "step 4"} <= set(words(with_bound))


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
    svg = figures.spectrum_over_time("a", records, "layer1")
    first, second = re.findall(r'<path d="([^"]*)" clip-path', svg)[:2]
    assert (first.count("L"), second.count("L")) == (2, 1) and {"1", "2"} <= set(words(svg))
