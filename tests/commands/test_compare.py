"""The command: entries and settings in, a table and a page out; stopped and gone on with; bad input in one line."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import seen

from minilte.commands import compare as shown
from minilte.compare import runner
from minilte.core.errors import DiskTrouble
from minilte.disk import folder

SMALL = [*"--data least-squares --inputs 6 --outputs 4 --samples 64 --model linear --batch 12 --heads 2".split(),
         *"--steps 4 --seeds 2 --tune-seeds 1 --rates 0.01,0.02 --decays 0".split()]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_ladder_is_a_table_a_page_and_a_file(capsys, tmp_path):
    assert shown.main(["full", "diloco", *SMALL, "--out", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "training loss" in line)
    names = seen.columns(head)
    assert names == ["entry", "training loss", "test loss", "behind in test loss", "sent", "seconds at 100 Mbit/s", "memory a worker", "tuned to"]  # fmt: skip
    kept = json.loads((tmp_path / "mine" / "ladder.json").read_text())
    assert [row["name"] for row in kept["rows"]] == [
        line[3:].split("  ")[0].removesuffix(" *") for line in lines[lines.index(head) + 1 :][:2]
    ]
    assert lines[-1] == "page in mine/ladder.html, table in mine/ladder.json"
    assert {"ladder.html", "ladder.svg", "ladder.png", "ladder.json"} <= {
        file.name for file in (tmp_path / "mine").iterdir()
    }


def test_the_same_command_again_makes_no_run_and_writes_the_same(capsys, tmp_path, monkeypatch):
    argv = ["full", "diloco", *SMALL, "--out", "mine", "--json"]
    assert shown.main(argv) == 0
    first, page = capsys.readouterr().out, (tmp_path / "mine" / "ladder.html").read_bytes()
    monkeypatch.setattr(runner, "measured", lambda trial: pytest.fail("made again"))
    assert shown.main(argv) == 0
    assert capsys.readouterr().out == first and (tmp_path / "mine" / "ladder.html").read_bytes() == page
    assert json.loads(first, parse_constant=pytest.fail) == json.loads(
        (tmp_path / "mine" / "ladder.json").read_text()
    )


def test_flags_win_over_the_file_and_words_replace_its_entries(capsys, tmp_path):
    (tmp_path / "own.toml").write_text(
        "seeds = 3\ndata = 'least-squares'\ninputs = 6\noutputs = 4\nsamples = 64\nmodel = 'linear'\nbatch = 12\nheads = 2\n"
        "steps = 4\ntune_seeds = 1\nrates = [0.01, 0.02]\ndecays = [0.0]\n[entries.mine]\nparts = 'full'\n[entries.other]\nparts = 'fedavg'\n"
    )
    assert shown.main(["--ladder", "own.toml", "--seeds", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in told["rows"]} == {"mine", "other"} and told["rules"]["seeds"] == 2
    assert shown.main(["--ladder", "own.toml", "--json", "diloco"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told["rows"]] == ["diloco"] and told["rules"]["seeds"] == 3


@pytest.mark.parametrize(
    "argv, words",
    [
        (["lti"], "method: no method 'lti', did you mean lte?"),
        (["lte", "lte"], "method: a name is given twice; give it once"),
        (["lte", "--seeds", "1"], "seeds: expected a whole number of at least 2, got 1"),
        (["lte", "--rates", ""], "rates: expected a value, got nothing"),
        (["lte", "--decays", "0.1,0.1"], "decays: expected different values, got 0.1,0.1"),
        (["lte", "--seed", "3"], "seed: expected none here"),
        (["lte", "--method", "full"], "method: expected none here"),
        (["full", "--rank", "3"], "rank: belongs to"),
        (["lte", "--match", "full"], "match: expected one of lte"),
        (["lte", "--ladder", "nothing.toml"], "ladder nothing.toml: cannot be read"),
        (["lte", "--data", "nothing.npz"], "dataset 'nothing.npz': no such name"),
        (["lte", "--equal", "time"], "equal: expected one of samples, bytes, memory"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(argv, words, capsys, monkeypatch):
    monkeypatch.setattr(runner, "measured", lambda trial: pytest.fail("a run was made"))
    assert shown.main(argv) == 2
    said = capsys.readouterr()
    assert said.err.startswith("minilte: error: ") and words in said.err and said.err.count("\n") == 1


def test_a_ladder_in_a_folder_that_another_climbs_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "PATIENCE", 0.1)
    (tmp_path / "mine").mkdir()
    with folder.alone(tmp_path / "mine"):
        assert shown.main(["full", *SMALL, "--out", "mine"]) == 2
    assert "another process" in capsys.readouterr().err


def test_a_page_of_somebody_else_is_not_written_over(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ladder.html").write_text("my own")
    monkeypatch.setattr(runner, "measured", lambda trial: pytest.fail("a run was made"))
    assert shown.main(["full", *SMALL, "--out", "mine"]) == 2
    assert (tmp_path / "mine" / "ladder.html").read_text() == "my own"
    assert "exists already" in capsys.readouterr().err


def test_a_disk_that_fills_ends_with_74_and_loses_nothing(capsys, tmp_path, monkeypatch):
    from minilte.compare import store

    write = folder.write_json

    def some(path, value):
        if len(list(path.parent.iterdir())) >= 3:
            raise DiskTrouble("cannot write: No space left on device; free space, then go on")
        write(path, value)

    monkeypatch.setattr(store.folder, "write_json", some)
    assert shown.main(["full", *SMALL, "--out", "mine"]) == 74
    assert "No space left" in capsys.readouterr().err and len(list((tmp_path / "mine" / "runs").iterdir())) == 3
    monkeypatch.undo()
    os.chdir(tmp_path)
    assert shown.main(["full", *SMALL, "--out", "mine", "--json"]) == 0


@pytest.mark.parametrize("to_all", [False, True], ids=["to-it-alone", "to-all-its-processes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_a_line_and_the_same_command_goes_on(tmp_path, number, to_all):
    long = ["3000" if before == "--steps" else word for before, word in zip(["", *SMALL], SMALL)]
    argv = [sys.executable, "-m", "minilte.compare", "full", *long, "--out", "mine"]
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening,
                               start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("mine/runs/*.json"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, number) if to_all else running.send_signal(number)
    out, err = running.communicate(timeout=60)
    if running.returncode:  # else it was done before the signal came
        assert running.returncode == 128 + number and err == ""
        assert "the same command goes on" in out.splitlines()[-1]


def listening():
    """A job of a shell's background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("words", [["full", "diloco"], ["lte"], ["galore", "full+muon"]])
def test_quick_takes_of_its_settings_what_the_methods_read(words, monkeypatch, capsys):
    from minilte.compare.trial import Outcome

    monkeypatch.setattr(runner, "measured", lambda trial: Outcome([], 0, 0.0, "", "made up"))
    assert shown.main([*words, "--quick", "--out", "quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["shared"]["steps"] == shown.QUICK["steps"] and told["rules"]["seeds"] == shown.QUICK["seeds"]
    assert ("rank" in told["shared"]) == ("lte" in words)


def test_time_left_is_said_now_and_then(capsys, monkeypatch):
    watcher = shown.Watcher(quiet=False)
    monkeypatch.setattr(shown, "EVERY", 0.0)
    watcher.progress(3, 10, 300.0)
    watcher.progress(4, 10, 40.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 runs of 10 that are known to be needed by now; about 5 min left of those"
    assert lines[1].endswith("about 40 s left of those")
    watcher.quiet = True
    watcher.progress(5, 10, 1.0)
    assert capsys.readouterr().out == "" and watcher.made == 5
