"""Costs for people and for programs: every model has both, no column runs into the next."""

import json
import re

import pytest
import seen
from hypothesis import given
from hypothesis import strategies as st

from minilte.cost import figure10, forms
from minilte.cost import tables as costs
from minilte.cost.forms import SIZES, Model, coded
from minilte.cost.memory import basis_memory, full_memory, lte_memory
from minilte.cost.units import brief, human, short

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


# ---------------------------------------------------------------- every cell, by its row and its column


MODELS = {
    "default": Model(1_861_632, 133_732, 2_058, 8, 8, 10),
    "nf4": Model(1_861_632, 133_732, 2_058, 8, 8, 10, *coded("nf4", 4)),
    "fewer-processes": Model(1_861_632, 133_732, 2_058, 8, 3, 7),
    "half": Model(5_000, 7_000, 11, 5, 4, 3, size=2),
    "with-bases": Model(1_861_632, 133_732, 2_058, 8, 8, 10, basis=57_856, drawn=65_536, beside=12_298),
}
WORDS = {
    "lte-allgather": "LTE, all-gather of factors",
    "lte-allreduce": "LTE, dense sum in head order",
    "lte-server": "LTE, server",
    "full-ring": "full rank, ring",
    "full-all-to-all": "full rank, all to all",
    "full-server": "full rank, server",
    "basis-sum": "shared basis, sum of factors",
}
WORKERS, MBIT = 500, 40.0


@pytest.fixture(params=MODELS)
def told(request):
    """(model, its report, the lines of the report)."""
    values = costs.report(MODELS[request.param], "float32", request.param, WORKERS, MBIT)
    return MODELS[request.param], values, "\n".join(costs.report_lines(values)).splitlines()


def rows(lines, head):
    """The rows of a table by their names: cells in the order of its columns."""
    start = next(i for i, line in enumerate(lines) if line.startswith(head))
    found = [seen.columns(line) for line in lines[start + 1 :]]
    return seen.columns(lines[start])[1:], {
        name: cells for name, *cells in found if name in (*WORDS.values(), *MEMORY)
    }


MEMORY = {
    "full rank": full_memory,
    "LTE, all-gather of factors": lambda model: lte_memory(model, forms.LTE["allgather"]),
    "LTE, dense sum in head order": lambda model: lte_memory(model, forms.LTE["allreduce"]),
    "LTE, server": lambda model: lte_memory(model, forms.LTE["server"]),
    "shared basis, sum of factors": basis_memory,
    "LTE, a server's master": lambda model: lte_memory(model, forms.LTE["server"], master=True),
}


def test_every_cell_of_traffic_is_that_of_its_exchange(told):
    model, values, lines = told
    head, found = rows(
        lines[: next(i for i, line in enumerate(lines) if line.startswith("what a worker"))], "what all"
    )
    assert head == ["a meeting", "a step", "seconds", f"{WORKERS} workers", "seconds"]
    known = {key: words for key, words in WORDS.items() if model.basis or key != "basis-sum"}
    assert list(found) == list(known.values())
    crowd = model._replace(N=WORKERS, P=WORKERS)
    for (key, words), one in zip(known.items(), values["traffic"], strict=True):
        exchange = forms.exchanges(model)[key]
        here, many = (float(forms.sent(of, exchange)) for of in (model, crowd))
        seconds = [float(8 * exchange.busiest(of) * of.size) / (1e6 * MBIT) for of in (model, crowd)]
        step = here if key.startswith("full") else here / model.T
        cells = human(here), human(step), brief(seconds[0]), human(many), brief(seconds[1])
        fewest = ["fewest"] if forms.cheapest(model) is exchange else []
        assert found[words] == [*cells, *(fewest if forms.possible(model, exchange) else ["needs all of W"])]
        assert one == {
            "exchange": key,
            "words": words,
            "meeting": here,
            "step": step,
            "possible": forms.possible(model, exchange),
            "seconds": seconds[0],
            "crowd_meeting": many,
            "crowd_seconds": seconds[1],
        }
    assert f"a link of {MBIT:g} Mbit/s" in " ".join(lines)


def test_every_cell_of_memory_is_that_of_its_worker(told):
    model, values, lines = told
    _, found = rows(lines, "what a worker holds")
    possible = {WORDS[key] for key, exchange in forms.exchanges(model).items() if forms.possible(model, exchange)}
    assert set(found) == possible & set(MEMORY) | {"full rank", "LTE, a server's master"}
    for words, cells in found.items():
        held = MEMORY[words](model)
        paper = held.weights + held.adapters + held.optimizer
        parts = [paper, held.gradients, held.merged_factors, held.scales, held.replicas]
        assert cells == [human(float(size * model.size)) for size in (*parts, sum(parts))], words
    kept = {one["words"]: one for one in values["memory"]}
    for words in found:
        held = MEMORY[words](model)
        assert all(kept[words][name] == float(size * model.size) for name, size in held._asdict().items())


def test_the_columns_of_memory_are_named_as_the_values_are():
    (head,) = [line for line in costs.memory_lines([]) if "holds" in line]
    assert head.split("the paper's")[1].split() == "+ gradients + V_n + scales + replicas in all".split()


def test_the_first_lines_are_those_of_the_model(told):
    model, values, (first, second, *_) = told
    assert first == (
        f"M = {model.M:,} in the matrices, M_lte = {model.M_lte:,} in a head's adapters, {model.replicas:,} in replicas"
    )
    assert second.startswith(f"N = {model.N} heads, P = {model.P} processes, T = {model.T}; float32; ")


def test_where_exchanges_cross_is_said_in_whole_sentences(told):
    model, values, lines = told
    text = [line.strip() for line in lines[lines.index("where they cross, by bytes, a head a process") + 1 :]]
    until = [forms.allgather_until(model, rings) for rings in (1, model.T)]
    ends = [f"up to N = {N:,}" if N >= 2 else "at no N" for N in until]
    assert text[0] == f"all-gather is below a dense sum {ends[0]} (one matrix: N r < 2 m n / (m + n))"
    assert text[1] == f"all-gather is below full rank by ring {ends[1]}"
    assert text[2] == f"a server is below all-gather from N = {forms.server_from(model):,}"
    below = "from N = 2" if forms.server_beats_allreduce(model) else "at no N"
    assert text[3] == f"a server is below a dense sum {below}"
    least = [f"{key} from T = {forms.least_every(model, one):,}" for key, one in forms.LTE.items()]
    assert text[4] == f"at these N and P, below full rank by ring: {', '.join(least)}"
    assert len(text) == 5


def test_figure_10_has_its_printed_and_its_computed_numbers_in_their_rows():
    lines = "\n".join(costs.paper_lines(costs.paper())).splitlines()
    found = {cells[0]: cells[1:] for cells in map(seen.columns, lines)}
    for one in figure10.rows():
        expected = [one.printed, short(float(one.computed)), *([one.remark] if one.remark else [])]
        assert found[one.name] == expected
    text, unsaid = " ".join(" ".join(lines).split()), figure10.unsaid()
    for words in (
        "data parallel training sends {ring_of_8} a step on 8, and {ring_of_32} on 32.",
        "all 32 send {server_of_32} a step.",
        "leaves out gradients, {gradients_full_rank} at full rank and {gradients_lte} for LTE;",
        "the V_n of one head, {merged_factors_lte}; and a float32 scale for 64 weights, as {scales_lte} of 16 bits",
    ):
        assert words.format(**{name: short(float(value)) for name, value in unsaid.items()}) in text
    assert f"sends {float(unsaid['lte_to_ring_of_8']):.2f} times as much as the ring of 8" in text
