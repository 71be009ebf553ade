"""Costs for people and for programs: every model has both, no column runs into the next."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from minilte.cost import tables as costs
from minilte.cost.forms import SIZES, Model, coded

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
    model, values = made
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert (values["fewest"] is None) == (model.P == 1)


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
def test_at_most_one_exchange_is_marked_as_the_fewest(made):
    marked = [line for line in costs.report_lines(made[1]) if line.endswith("  fewest")]
    words = [one["words"] for one in made[1]["traffic"] if one["exchange"] == made[1]["fewest"]]
    assert [line[2:32].rstrip() for line in marked] == words
