"""The picture of cost: a line for each exchange, and a dotted one where all-gather is overtaken."""

import pytest
import seen

from minilte.cost import forms
from minilte.cost.figure10 import PAPER
from minilte.cost.forms import Model, coded
from minilte.show import crossings

MODELS = {
    "paper": PAPER,
    "default": Model(1_861_632, 133_732, 2_058, 8, 8, 10),
    "nf4": Model(1_861_632, 133_732, 2_058, 8, 8, 10, *coded("nf4", 4)),
    "adapters-larger-than-the-network": Model(9, 2000, 0, 8, 8, 10),
    "one-number": Model(1, 1, 0, 1, 1, 1),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_picture_is_drawn_for_any_model(tmp_path, name):
    crossings.picture(tmp_path / "plots", MODELS[name])
    assert {found.name for found in (tmp_path / "plots").iterdir()} == {"cost.svg", "cost.png"}


WORDS = {
    "lte-allgather": "LTE, all-gather of factors",
    "lte-allreduce": "LTE, dense sum in head order",
    "lte-server": "LTE, server",
    "full-ring": "full rank, ring or server",
    "full-all-to-all": "full rank, all to all",
}


@pytest.mark.parametrize("name", MODELS)
def test_lines_are_bytes_a_step_and_cross_where_dotted(name):
    model = MODELS[name]
    with seen.pictures() as drawn:
        crossings.picture("nowhere", model)
    (axes,) = drawn["cost"].axes
    lines = seen.lines(axes)
    assert list(lines) == list(WORDS.values()) == seen.legend(axes)
    for key, words in WORDS.items():
        for N, size in seen.points(lines[words]):
            assert size == float(forms.a_step(model._replace(N=int(N), P=int(N)), forms.EXCHANGES[key]))
        assert lines[words].dash == ("--" if key.startswith("full") else "-")
    until = (forms.allgather_until(model), forms.allgather_until(model, model.T))
    last = lines[WORDS["lte-server"]].x[-1]
    expected = {N for N in (forms.server_from(model), *(N + 1 for N in until)) if 2 <= N <= last}
    assert {x for x, *_ in seen.verticals(axes)} == expected
    assert {text.get_text(): text.xy[0] for text in axes.texts} == {f" {N:,}": N for N in expected}
    assert seen.axes_of(drawn["cost"]) == ("N workers, a head each", "bytes a step, of all together", "log")


@pytest.mark.parametrize("name", ["default", "nf4"])
def test_on_either_side_of_a_dotted_line_another_exchange_sends_less(name):
    model = MODELS[name]
    with seen.pictures() as drawn:
        crossings.picture("nowhere", model)
    (axes,) = drawn["cost"].axes
    at = lambda N, key: forms.a_step(model._replace(N=N, P=N), forms.EXCHANGES[key])  # noqa: E731
    for x, *_ in seen.verticals(axes):
        below, above = (
            [at(N, "lte-allgather") < at(N, other) for other in ("lte-allreduce", "lte-server", "full-ring")]
            for N in (int(x) - 1, int(x))
        )
        assert below != above
