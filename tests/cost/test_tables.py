"""Costs for people and for programs: every model has both, no column runs into the next."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.cost.forms import SIZES, Model, coded
from minilte.commands.cost import tables as costs

counts = st.integers(1, 40)
sizes = st.integers(0, 15).flatmap(lambda digits: st.integers(1, 10**digits))


@st.composite
def reports(draw):
    dtype, quant = draw(st.sampled_from(list(SIZES))), draw(st.sampled_from(["none", "int8", "int4", "nf4"]))
    q, scales = coded(quant, SIZES[dtype])
    shape = draw(sizes), draw(sizes), draw(st.integers(0, 10**6))
    model = Model(*shape, draw(counts), draw(counts), draw(counts), q, scales, SIZES[dtype])
    return model, costs.report(model, dtype, quant, draw(counts), draw(st.floats(1e-3, 1e6)))


@given(reports())
def test_any_model_has_a_report_in_plain_values(made):
    model, told = made
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["fewest"] is None) == (model.P == 1)


@given(reports())
def test_tables_fit_a_screen_and_columns_keep_apart(made):
    text = list(costs.report_lines(made[1]))
    assert sum(line.count("\n") + 1 for line in text) <= 40
    number = r" +[\d.,]+(e[+-]\d+)?"
    size = number + r" (B|[kMGTP]B)"
    rows = [line for line in text if line.startswith(("  LTE", "  full rank"))]
    traffic = re.compile(rf"  [\w, '-]+?{size}{size}{number}{size}{number}(  fewest|  needs all of W)?")
    assert all(traffic.fullmatch(line) for line in rows[:6])
    assert all(re.fullmatch(rf"  [\w, '-]+?({size}){{6}}", line) for line in rows[6:])


@given(reports())
def test_at_most_one_topology_is_marked_and_it_is_the_one_told(made):
    marked = [line for line in costs.report_lines(made[1]) if line.endswith("  fewest")]
    words = [one["words"] for one in made[1]["traffic"] if one["topology"] == made[1]["fewest"]]
    assert [line[2:32].rstrip() for line in marked] == words


@pytest.mark.parametrize(
    ("count", "words"), [(22_320_000_000, "22.32G"), (763_840_000, "763.84M"), (700_000, "0.7M"), (0.35, "0.35")]
)
def test_a_count_is_short_in_units_of_the_paper(count, words):
    assert costs.short(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0"), (0.30417, "0.304"), (999.4, "999"), (999.6, "1,000"), (1187.2, "1,187"), (3.2e10, "3.2e+10")],
)
def test_seconds_are_brief(seconds, words):
    assert costs.brief(seconds) == words
