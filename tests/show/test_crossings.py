"""The picture of cost: a line for each exchange, and a dotted one where all-gather is overtaken."""

import pytest

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


@pytest.mark.parametrize("name", MODELS)
def test_lines_are_bytes_a_step_and_cross_where_dotted(monkeypatch, name):
    from matplotlib.figure import Figure

    model, drawn = MODELS[name], {}
    figure = Figure()
    axes = figure.subplots()
    monkeypatch.setattr(crossings, "draw", lambda place, name, paint, size: paint(axes))
    crossings.picture("nowhere", model)
    for line in axes.get_lines():
        drawn.setdefault(line.get_label().startswith("_"), []).append(line)
    words = [line.get_label() for line in drawn[False]]
    assert words == [
        "LTE, all-gather of factors",
        "LTE, dense sum in head order",
        "LTE, server",
        "full rank, ring or server",
        "full rank, all to all",
    ]
    for line, exchange in zip(drawn[False], [*forms.LTE.values(), *forms.FULL.values()]):
        for N, size in zip(*line.get_data()):
            assert size == float(forms.a_step(model._replace(N=int(N), P=int(N)), exchange))
    dotted = {int(line.get_xdata()[0]) for line in drawn.get(True, [])}
    until = (forms.allgather_until(model), forms.allgather_until(model, model.T))
    last = drawn[False][0].get_xdata()[-1]
    assert dotted == {N for N in (forms.server_from(model), *(N + 1 for N in until)) if 2 <= N <= last}
