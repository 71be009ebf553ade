"""The table of the bench: what is met, what is missed, what is not installed."""

import json

import pytest
import seen

from minilte.bench import figures, profile, scale
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


@pytest.mark.parametrize(
    ("goal", "words"),
    [({}, []), (dict(most=0.55), ["<= 0.55", "met"]), (dict(least=0.55), [">= 0.55", "MISSED"])],
    ids=str,
)
def test_a_line_has_the_median_its_ends_and_the_target(goal, words):
    row = bench.measured(figure(**goal), 3)
    assert " ".join(bench.line(row).split()) == " ".join(["a / b 0.5 [0.4, 0.6] of 3", *words])


def test_the_shares_of_a_step_and_the_growth_are_said_below_the_figures(capsys, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", (figure(most=1.0),))
    monkeypatch.setattr(profile, "profile", lambda size: [("pairs.linear", 0.75), ("lte.merge", 0.25)])
    assert bench.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"where a step goes ({figures.LARGE}, one thread)"
    assert [seen.columns(line) for line in lines[3:]] == [["pairs.linear", "75.0 %"], ["lte.merge", "25.0 %"]]


def test_growth_is_measured_fitted_reported_and_drawn(tmp_path, capsys, monkeypatch):
    size, drawn = scale.BASE, []
    point, on = scale.Point("heads", 8, size, 0.004, 0.002), scale.Process(2, 0.003, 7, 8)
    monkeypatch.setattr(scale, "measure", lambda runs: [point._replace(seconds=0.001 * runs)])
    monkeypatch.setattr(scale, "processes", lambda: [on])
    monkeypatch.setattr("minilte.show.scale.picture", lambda place, grown: drawn.append((place, grown)))
    assert bench.main([f"--scale={tmp_path}", "--only=none of them", "--runs=4"]) == 0
    ((place, grown),) = drawn
    assert place == tmp_path and grown["points"][0]["seconds"] == 0.004 == pytest.approx(grown["points"][0]["fit"])
    assert capsys.readouterr().out.splitlines() == "\n".join(scale.lines(grown)).splitlines()


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
