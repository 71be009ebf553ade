"""The words of a ladder: each number under its name, and nothing said of a row that is not so."""

import pytest
import seen

from minilte.show import standings

SPREAD = dict(values=[0.25, 0.35], mean=0.3, low=0.28, high=0.32)


def row(name, **changes):
    zero = dict(values=[0.0, 0.0], mean=0.0, low=0.0, high=0.0)
    made = dict(
        name=name,
        settings={},
        tuned={"lr": 0.002, "weight_decay": 0.1},
        grid=[[{"lr": 0.004}, None], [{"lr": 0.002}, 0.5]],
        edges=[],
        note="",
        steps=10,
        samples=100,
        bytes=2e6,
        link_bytes=2.5e6,
        memory=3e3,
        scores={"train_loss": SPREAD, "test_loss": SPREAD, "test_accuracy": SPREAD | dict(mean=0.8812, low=0.8798, high=0.8826)},
        behind=dict.fromkeys(("train_loss", "test_loss", "test_accuracy"), zero),
        curve=[dict(samples=s, bytes=2e4 * s, link_bytes=2.5e4 * s, train_loss=1 / (1 + s), test_loss=2 / (1 + s), test_accuracy=s / 200) for s in (0, 50, 100)],
        frontier=False,
        trouble="",
    )  # fmt: skip
    return made | changes


def ladder(*rows, matches=(), **rules):
    known = dict(mbit=100.0, seeds=5, tune_seeds=1, by="valid_loss", equal="samples", match="full")
    return dict(rules=known | rules, data=dict(name="drawn", rows=120), rows=list(rows), matches=list(matches))


def cells(of):
    return [dict(zip(standings.head(of), line)) for line in standings.cells(of)]


def test_every_number_stands_under_its_name():
    behind = dict.fromkeys(
        ("train_loss", "test_loss", "test_accuracy"), dict(values=[0.1, 0.3], mean=0.2, low=0.05, high=0.35)
    )
    first, second = cells(ladder(row("a", frontier=True), row("b", behind=behind)))
    assert first == {
        "": "A",
        "entry": "a *",
        "training loss": "0.3000 ± 0.0200",
        "test loss": "0.3000 ± 0.0200",
        "accuracy (%)": "88.12 ± 0.14",
        "behind in test loss": "leads",
        "sent": "2.0 MB",
        "seconds at 100 Mbit/s": "0.2",
        "memory a worker": "3.0 kB",
        "tuned to": "lr 0.002, weight-decay 0.1",
    }
    assert second["behind in test loss"] == "0.2000 ± 0.1500" and second["entry"] == "b" and second[""] == "B"


def test_an_interval_that_holds_zero_is_level():
    near = dict.fromkeys(
        ("train_loss", "test_loss", "test_accuracy"), dict(values=[0.1, -0.05], mean=0.02, low=-0.01, high=0.05)
    )
    assert cells(ladder(row("a", behind=near)))[0]["behind in test loss"] == "0.0200 ± 0.0300, level"


@pytest.mark.parametrize("mbit, took", [(100.0, "0.2"), (10.0, "2"), (1.0, "20")])
def test_a_slower_link_takes_longer(mbit, took):
    of = ladder(row("a"), mbit=mbit)
    assert cells(of)[0][f"seconds at {mbit:g} Mbit/s"] == took


def test_a_row_without_scores_has_dashes_and_its_reason():
    of = ladder(row("a"), row("b", scores={}, behind={}, trouble="diverged at 1 of 5 seeds: lower --lr"))
    assert set(list(cells(of)[1].values())[2:-1]) == {"—"}
    assert list(standings.remarks(of)) == ["b: diverged at 1 of 5 seeds: lower --lr."]


def test_notes_and_edges_are_said():
    of = ladder(row("a", note="rank 3", edges=["weight_decay 0.8 is the largest that was tried"]))
    assert list(standings.remarks(of)) == [
        "a: rank 3.",
        "a: weight-decay 0.8 is the largest that was tried; its best may lie beyond.",
    ]


def test_a_grid_is_in_the_order_of_its_values_and_says_what_diverged():
    assert standings.grid(row("a")) == "lr 0.002: 0.5000; lr 0.004: diverged"


def test_a_regression_has_no_column_of_accuracy():
    part = {name: SPREAD for name in ("train_loss", "test_loss")}
    assert "accuracy (%)" not in standings.head(ladder(row("a", scores=part)))


@pytest.mark.parametrize(
    "match, words",
    [
        (dict(ratios=[1.2, 1.6], short=0, early=0, mean=1.386, low=1.1, high=1.75), "1.39 (1.10 to 1.75)"),
        (dict(ratios=[1.2, 4.0], short=1, early=0, mean=2.0, low=1.0, high=4.0), "more than 4 (1 of 2 seeds)"),
        (dict(ratios=[1.2, 4.0, 4.0], short=2, early=0, mean=2.0, low=1.0, high=4.0), "more than 4 (2 of 3 seeds)"),
        (dict(ratios=[0.25, 0.6], short=0, early=1, mean=0.4, low=0.2, high=0.8), "at most 0.25 (1 of 2 seeds)"),
        (dict(ratios=[0.25, 0.25], short=0, early=2, mean=0.25, low=0.25, high=0.25), "at most 0.25 (2 of 2 seeds)"),
    ],
)
def test_samples_to_match_in_words(match, words):
    of = ladder(
        row("full"),
        row("b"),
        matches=[dict(name="b", opponent="full", score=score) | match for score in ("train_loss", "test_accuracy")],
    )
    head, rows = standings.matches(of)
    assert head == ["entry", "samples to match full in training loss", "samples to match full in accuracy"]
    assert rows == [["b", words, words]] and standings.ratio(match) == words


def test_no_matches_are_no_table():
    assert standings.matches(ladder(row("a")))[1] == []


def test_letters_go_on_after_z():
    assert [standings.letter(n) for n in (0, 25, 26, 51, 52)] == ["A", "Z", "AA", "AZ", "BA"]


def test_tables_for_a_terminal_and_a_page_have_the_same_cells():
    of = ladder(row("a", frontier=True), row("b"))
    head, rows = standings.head(of), standings.cells(of)
    text, page = standings.text(head, rows), standings.markdown(head, rows)
    assert [seen.columns(line) for line in text] == [[cell for cell in line if cell] for line in (head, *rows)]
    assert seen.markdown("\n".join(page), "|  | entry")[0][1] == "a \\*"


def test_how_it_was_measured_is_said():
    words = standings.conditions(ladder(row("a"), tune_seeds=2, by="train_loss", equal="bytes"))
    for phrase in (
        "drawn, 120 training rows",
        "equal bytes",
        "5 seeds",
        "by train loss with rows held out, 2 seeds from 1000",
    ):
        assert phrase in words
