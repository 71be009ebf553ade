"""The table of the laws: every verdict in its columns, what fell with its counterexample, and how many hold."""

import json

import seen

from minilte.commands import verify
from minilte.laws import LAWS, try_law
from minilte.laws.law import Verdict

HELD = Verdict("L1", "it holds", 20, 2.5e-13, 1e-11, True)
FALLEN = Verdict("L2", "it falls", 7, 3.5e-2, 1e-10, False, "LAWS['L2'].error(…)", "ValueError('x')")


def test_a_row_has_its_numbers_under_the_names_of_their_columns():
    head, first, second, fallen, tally = verify.report([HELD, FALLEN])
    assert seen.columns(head) == ["law", "tried", "worst error", "tolerance", "verdict", "statement"]
    assert seen.columns(first) == ["L1", "20", "2.5e-13", "1e-11", "holds", "it holds"]
    assert seen.columns(second) == ["L2", "7", "3.5e-02", "1e-10", "FALLS", "it falls"]
    assert fallen == "\nL2 falls: ValueError('x'); its smallest counterexample:\nLAWS['L2'].error(…)"
    assert tally == "1 of 2 laws hold"


def test_the_table_is_that_of_the_laws_that_were_asked_for(capsys):
    assert verify.main(["--law=L8", "l10", "--examples=3", "--seed=2"]) == 0
    _, *rows, tally = capsys.readouterr().out.splitlines()
    verdicts = [try_law(LAWS[name], 3, 2) for name in ("L8", "L10")]
    assert [row.split()[:4] for row in rows] == [
        [one.name, "3", f"{one.worst_error:.1e}", f"{one.tolerance:.0e}"] for one in verdicts
    ]
    assert tally == "2 of 2 laws hold"


def test_a_law_that_falls_is_exit_code_1_and_json_is_all_that_is_written(capsys, monkeypatch):
    monkeypatch.setattr(verify, "verdicts_of", lambda options: iter([HELD, FALLEN]))
    assert verify.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"laws": [HELD._asdict(), FALLEN._asdict()]}


def test_a_law_that_does_not_exist_is_one_line(capsys):
    assert verify.main(["L99"]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and "no law is called 'L99'" in err
