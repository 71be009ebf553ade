"""The table of the bench: what is met, what is missed, what is not installed."""

import json

from minilte.bench import figures
from minilte.bench.figures import Figure
from minilte.bench.timing import Spread
from minilte.commands import bench


def figure(median=0.5, **target):
    return Figure("a / b", lambda runs: Spread(median, 0.4, 0.6, runs), **target)


def test_targets_are_met_on_their_own_side():
    for median, target, met in (
        (0.5, dict(most=0.5), True), (0.51, dict(most=0.5), False), (0.5, dict(least=0.5), True),
        (0.49, dict(least=0.5), False), (0.5, {}, None),
    ):  # fmt: skip
        row = bench.measured(figure(median, **target), 3)
        assert row["met"] is met and row["ratio"]["count"] == 3
        assert ("MISSED" in bench.line(row)) == (met is False)


def test_a_peer_that_is_not_installed_is_named():
    def missing(runs):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    assert "needs torch: pip install 'minilte[bench]'" in bench.line(bench.measured(Figure("a / b", missing), 1))


def test_json_is_all_that_is_written(capsys, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", (figure(most=1.0),))
    assert bench.main(["--json", "--only", "a / b"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"][0]["met"] is True


def test_every_figure_has_a_name_of_its_own_and_one_kind_of_target():
    names = [one.name for one in figures.FIGURES]
    assert len(set(names)) == len(names)
    assert all(one.most is None or one.least is None for one in figures.FIGURES)
