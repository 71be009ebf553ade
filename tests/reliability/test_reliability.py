"""The scoreboard in a very short form, and that it sees what it is there to see."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minilte.disk import folder
from minilte.job import checkpoint
from reliability import __main__ as scoreboard
from reliability import (
    answers,
    cases,
    damage,
    deaths,
    jobs,
    kills,
    outputs,
    processes,
    rows,
    signals,
    soak,
    streams,
    world,
)

needs_mpirun = pytest.mark.skipif(jobs.MPIRUN is None, reason="no mpirun; pip install 'minilte[mpi]'")
TESTS = Path(__file__).parents[1]


def assert_met(rows_):
    assert all(row.met for row in rows_), "\n".join(map(rows.line, rows_))


def test_a_save_cut_off_anywhere_loses_no_checkpoint(tmp_path):
    assert_met([deaths.saves(tmp_path)])


def test_damaged_checkpoints_are_refused():
    assert_met(damage.rows(100, 20, seed=1))


def test_merges_leave_nothing_behind():
    assert_met(soak.rows(300, seed=1))


@needs_mpirun
def test_killed_runs_go_on_to_the_same_bits():
    assert_met(kills.rows(1, 1, kinds=("reset-ab",), sizes=(1, 2)))


@needs_mpirun
def test_a_stopped_run_goes_on_to_the_same_bits():
    assert_met(signals.rows(1, seed=1))


@needs_mpirun
def test_bad_input_is_answered_soon():
    assert_met(answers.rows(1, seed=1))


@needs_mpirun
def test_a_job_that_is_stopped_while_it_starts_ends_at_once():
    assert_met([signals.starts(1, seed=1)])


@needs_mpirun
@pytest.mark.parametrize("of", [streams.CASES, world.OTHER, outputs.TAKEN], ids=["streams", "other", "taken"])
def test_the_world_around_a_run_may_be_odd(of):
    assert_met([cases.row("", of, 1, seed=1)])


@needs_mpirun
@pytest.mark.long
@pytest.mark.parametrize("of", [world.GOING, world.APART, outputs.PICTURES], ids=["going", "apart", "pictures"])
def test_the_world_around_a_run_may_change(of):
    assert_met([cases.row("", of, None, seed=1)])


@needs_mpirun
@pytest.mark.long
def test_many_processes_give_one_result():
    assert_met([processes.row("", [({}, 1), ({}, 3)], seed=1)])


@needs_mpirun
@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_quick_form_meets_its_targets_in_time():
    env = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    command = [sys.executable, "-m", "reliability", "--quick", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    board = json.loads(done.stdout)
    missed = [row for row in board["rows"] if not row["met"]]
    assert (done.returncode, missed) == (0, []) and board["seconds"] < 90


# ---------------------------------------------------------------- it sees what it is there to see


def test_a_save_in_place_is_seen_to_lose_checkpoints(tmp_path, monkeypatch):
    real = checkpoint.save

    def in_place(run, state, config):
        for old in checkpoint.listed(run):
            checkpoint.drop(old)
        return real(run, state, config)

    monkeypatch.setattr(checkpoint, "save", in_place)
    row = deaths.saves(tmp_path)
    assert not row.met and "dies at request" in row.notes[0]


def test_a_write_without_a_temporary_file_is_seen_in_a_run(tmp_path, monkeypatch):
    def in_place(path, content):
        with open(path, "wb") as file:  # closed also where the death comes in between
            file.write(content)

    monkeypatch.setattr(folder, "write", in_place)
    assert not deaths.runs(tmp_path, 0, steps=2).met


def test_a_checkpoint_without_sums_is_seen_to_take_damage(monkeypatch):
    real = checkpoint.read_manifest

    def trusting(path):
        content = (path / "state.safetensors").read_bytes()
        sums = {"state.safetensors": checkpoint.hashlib.sha256(content).hexdigest()}
        return real(path) | {"sha256": sums}

    monkeypatch.setattr(checkpoint, "read_manifest", trusting)
    flipped, _ = damage.rows(200, 1, seed=0)
    assert not flipped.met and "accepted" in flipped.notes[0]


def test_a_case_that_goes_wrong_is_told_by_its_name():
    row = cases.row("things", {"one": lambda folder: "lost", "two": lambda folder: ""}, None, seed=0)
    assert not row.met and (row.figure, row.notes) == ("1 of 2", ("one: lost",))


def test_a_command_that_writes_over_a_file_is_seen(tmp_path):
    before = cases.contents(tmp_path)
    (tmp_path / "place").touch()
    made = cases.contents(tmp_path)
    (tmp_path / "place").write_text("mine")
    assert before != made != cases.contents(tmp_path)


@pytest.mark.parametrize(("met", "code"), [(True, 0), (None, 0), (False, 1)])
def test_the_exit_code_is_1_where_a_target_is_missed(monkeypatch, capsys, met, code):
    row = rows.Row("a thing", "3", "0", met, notes=("seed 0: seen",))
    monkeypatch.setattr(scoreboard, "MEASURES", {"thing": lambda full, seed: [row]})
    monkeypatch.setattr(jobs, "MPIRUN", "mpirun")
    assert scoreboard.main(["--json", "--seed=3"]) == code
    board = json.loads(capsys.readouterr().out)
    assert board["seed"] == 3 and board["rows"][0]["met"] is met
    assert scoreboard.main([]) == code
    assert "    seed 0: seen" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["--quick", "--full"], ["--only=nothing"], ["--seed=-1"], ["--fast"]])
def test_what_it_is_not_asked_rightly_is_one_line(argv, capsys):
    assert scoreboard.main(argv) == 2
    assert capsys.readouterr().err.count("\n") == 1
