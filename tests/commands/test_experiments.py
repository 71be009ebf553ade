"""The command: names and seeds in, a table or JSON out, bad input in one line."""

import json
import math

import pytest
import seen

from minilte import experiments
from minilte.commands import experiments as shown
from minilte.experiments.claim import Claim, Prediction, Row


@pytest.fixture(autouse=True)
def two_claims(monkeypatch):
    first = Claim(
        "C1", "4.1", "it is five", (Prediction("a", "a", "L6", 5, 5), Prediction("b", "b", "paper", most=4)), both
    )
    second = Claim("C7", "4.2", "it is large", (Prediction("a", "a", "paper", least=10),), both)
    monkeypatch.setattr(experiments, "CLAIMS", {"C1": first, "C7": second})


def both(seed):
    return {"a": 5.0, "b": 5.0}


def test_the_table_has_a_row_a_part_and_a_tally(capsys):
    assert shown.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "C1  it is five (4.1)" and lines[-1] == "1 of 3 predictions hold, 2 fail, 0 undecided"
    assert [line.split()[-1] for line in lines if line.startswith("  C")] == ["holds", "fails", "fails"]


def test_a_row_has_its_numbers_under_the_names_of_their_columns():
    claim = Claim("C1", "4.1", "it is five", (), both)
    row = Row("C1b", "4.1", "how many", "paper", -math.inf, 4.0, (5.0, 6.0), 5.5, 1.25, 9.75, "undecided")
    title, head, line, _ = shown.table(claim, [row])
    assert title == "C1  it is five (4.1)"
    assert seen.columns(head) == ["measured", "by", "predicted", "mean", "95 % interval", "verdict"]
    assert seen.columns(line) == ["C1b", "how many", "paper", "<= 4", "5.5", "[1.25, 9.75]", "undecided"]
    for word, column in (("how many", "measured"), ("paper", "by"), ("[1.25", "95 %"), ("undecided", "verdict")):
        assert line.index(word) == head.index(column)


def test_claims_are_chosen_by_name_once_each(capsys):
    assert shown.main(["--seeds", "3", "C7", "C7"]) == 0
    assert capsys.readouterr().out.count("C7a") == 1


def test_json_is_all_that_is_written_and_has_no_infinity(capsys):
    assert shown.main(["--json", "--seeds=3"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["rows"]
    assert [row["name"] for row in told] == ["C1a", "C1b", "C7a"] and told[0]["values"] == [5.0] * 3
    assert told[1]["least"] is None and told[1]["most"] == 4 and told[1]["verdict"] == "fails"


@pytest.mark.parametrize(
    "argv, words",
    [
        (["C4"], "claim: no claim 'C4' is measured"),
        (["c7"], "there are C1, C7"),
        (["C1", "--seeds", "1"], "seeds: expected a whole number of at least 2, got 1"),
        (["--sed", "2"], "--sed: unknown option, did you mean --seeds?"),
        (["--picture", "x", "--seeds", "3"], "picture: got --seeds beside it, but the picture is of the method"),
        (["--picture", "x", "C1"], "picture: got --claims beside it"),
        (["--picture", "/dev/null/x"], "out /dev/null/x: Not a directory"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capsys, argv, words):
    assert shown.main(argv) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and words in err


@pytest.mark.parametrize(
    "least, most, words",
    [(5, 5, "5"), (0.875, 0.885, "0.875 … 0.885"), (-math.inf, 4, "<= 4"), (0, math.inf, ">= 0"), (1, 1 + 1e-9, "1")],
)
def test_a_prediction_in_few_signs(least, most, words):
    assert shown.predicted(Row("", "", "", "", least, most, (), 0, 0, 0, "")) == words


def test_help_names_the_claims_and_the_options(capsys):
    assert shown.main(["--help"]) == 0
    assert "[options] [C1 …]" in (told := capsys.readouterr().out) and "--seeds" in told
