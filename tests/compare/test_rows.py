"""Rows: means and intervals, paired differences to the leader, the frontier, and what diverged."""

import pytest

from minilte.compare.entrants import Entrant
from minilte.compare.rows import row, side_by_side, spread
from minilte.compare.trial import Outcome
from minilte.compare.tuning import Tuned
from minilte.measure.interval import interval
from minilte.settings.config import Config

FOUND = Tuned({"lr": 0.002}, 0.5, [({"lr": 0.002}, 0.5), ({"lr": 0.004}, float("inf"))], [])


def outcome(loss, right, sent=100, memory=10, diverged="", link=0):
    if diverged:
        return Outcome([], 0, 0.0, "", diverged)
    first = {
        "step": 0,
        "samples": 0,
        "train_loss": 9.0,
        "test_loss": 9.0,
        "test_accuracy": 0.1,
        "bytes": 0,
        "link_bytes": 0,
    }
    last = dict(
        step=4,
        samples=8,
        train_loss=loss / 2,
        test_loss=loss,
        test_accuracy=right,
        bytes=sent,
        link_bytes=link or sent / 2,
    )
    return Outcome([first, last], memory, 1.0, "")


def made(name, outcomes, note="", out=""):
    config = Config(method="full", steps=4, batch=8, heads=2)
    return row(Entrant(name, config, {}, {}, note, out), FOUND, outcomes)


def test_a_row_has_the_mean_and_the_interval_over_seeds_and_the_settings_that_were_tuned():
    found = made("a", [outcome(1.0, 0.8), outcome(2.0, 0.6)])
    assert found.scores["test_loss"] == spread([1.0, 2.0]) and found.scores["test_accuracy"].mean == pytest.approx(
        0.7
    )
    assert (found.scores["train_loss"].low, found.scores["train_loss"].high) == interval([0.5, 1.0])
    assert found.settings["lr"] == 0.002 and found.settings["method"] == "full"
    assert (found.steps, found.samples, found.bytes, found.link_bytes, found.memory) == (4, 32, 100, 50, 10)
    assert [point["test_loss"] for point in found.curve] == [9.0, 1.5]


def test_who_is_behind_is_behind_at_the_same_seeds():
    a, b = made("a", [outcome(1.0, 0.8), outcome(2.0, 0.6)]), made("b", [outcome(1.5, 0.9), outcome(2.5, 0.7)])
    first, second = side_by_side([b, a], "valid_loss")
    assert (first.name, second.name) == ("a", "b")
    assert first.behind["test_loss"] == spread([0.0, 0.0]) and second.behind["test_loss"] == spread([0.5, 0.5])
    assert second.behind["test_loss"].low == 0.5  # paired: the seeds' own spread is gone
    assert second.behind["test_accuracy"] == spread([0.0, 0.0])  # there b leads
    assert first.behind["test_accuracy"].mean == pytest.approx(0.1)


@pytest.mark.parametrize("by, first", [("valid_loss", "a"), ("train_loss", "a"), ("valid_accuracy", "b")])
def test_the_best_in_what_was_tuned_is_first(by, first):
    a, b = made("a", [outcome(1.0, 0.8)] * 2), made("b", [outcome(1.5, 0.9)] * 2)
    assert side_by_side([b, a], by)[0].name == first


def test_the_frontier_has_what_no_other_beats_in_all():
    rows = [
        made("best", [outcome(1.0, 0.8, sent=100, memory=10)] * 2),
        made("cheap", [outcome(2.0, 0.8, sent=10, memory=10)] * 2),
        made("small", [outcome(2.0, 0.8, sent=100, memory=5)] * 2),
        made("beaten", [outcome(2.0, 0.8, sent=50, memory=10)] * 2),
        made("twin", [outcome(1.0, 0.8, sent=100, memory=10)] * 2),
    ]
    found = {each.name: each.frontier for each in side_by_side(rows, "valid_loss")}
    assert found == {"best": True, "cheap": True, "small": True, "beaten": False, "twin": True}


def test_the_frontier_is_of_all_bytes_that_are_sent_and_not_of_the_busiest_link():
    few_on_a_link = made("all to all", [outcome(2.0, 0.8, sent=900, link=10)] * 2)
    all_on_a_link = made("server", [outcome(2.0, 0.8, sent=300, link=300)] * 2)
    found = {each.name: each.frontier for each in side_by_side([few_on_a_link, all_on_a_link], "valid_loss")}
    assert found == {"all to all": False, "server": True}


def test_what_diverged_or_cannot_take_part_comes_last_and_says_why():
    rows = [
        made("gone", [outcome(0.1, 0.9), outcome(0, 0, diverged="at step 3")]),
        made("a", [outcome(1.0, 0.8)] * 2),
        made("out", [], out="it holds too much"),
    ]
    first, *rest = side_by_side(rows, "valid_loss")
    assert first.name == "a" and first.behind["test_loss"].mean == 0.0
    assert {each.name: each.trouble for each in rest} == {
        "gone": "diverged at 1 of 2 seeds: at step 3",
        "out": "it holds too much",
    }
    assert all(not each.scores and not each.behind and not each.frontier for each in rest)
