"""The report command as a person uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from minilte.commands import report

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own with a finished run and a stopped one in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    tiny.go_on(tiny.begin(tmp_path / "run"))
    tiny.go_on(tiny.begin(tmp_path / "half"), watch=tiny.stop_after(2))
    return tmp_path


@pytest.fixture
def command(capsys):
    """The command in this process: arguments -> (code, stdout, stderr)."""

    def call(*argv):
        code = report.main(argv)
        return code, *capsys.readouterr()

    return call


def test_a_page_on_one_run_or_several_is_where_it_was_asked_for(place, command):
    assert command("run") == (0, "report of run in report.html\n", "")
    assert command("run", "half", "--out", "two.html") == (0, "report of run, half in two.html\n", "")
    assert "<h1>run</h1>" in Path("report.html").read_text()
    assert "<h1>2 runs side by side</h1>" in Path("two.html").read_text()
    assert sorted(os.listdir()) == ["half", "report.html", "run", "two.html"]


def test_a_run_may_be_named_from_inside(place, command, monkeypatch):
    monkeypatch.chdir(place / "run")
    assert command(".", "--out", "../report.html")[0] == 0
    assert "<h1>run</h1>" in (place / "report.html").read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("", "required: RUN"),
        ("run --out=", "--out: expected a value, got nothing"),
        ("run --out pipe", "out pipe: it exists already and is no report"),
        ("run --out gone", "out gone: it exists already and is no report"),
        ("run --out /dev/null", "out /dev/null: it exists already and is no report"),
        ("run --oot x", "did you mean --out?"),
        ("nowhere", "nowhere: no such folder"),
        (".", "config.json: cannot be read"),
        ("run half/config.json", "half/config.json: no such folder"),
        ("run --out half", "out half: it exists already and is no report"),
        ("run --out half/config.json", "out half/config.json: it exists already and is no report"),
        ("run --out no/x", "no folder no"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(place, command, argv, words):
    os.mkfifo("pipe")
    os.symlink("nowhere at all", "gone")
    code, out, err = command(*argv.split())
    assert (code, out) == (2, "") and err.startswith("minilte: error: ") and err.count("\n") == 1
    assert words in err and sorted(os.listdir()) == ["gone", "half", "pipe", "run"]


def test_a_damaged_run_is_exit_code_2(place, command):
    for name in ("summary.json", "metrics.jsonl", "env.json", "config.json", "final.safetensors"):
        file = place / "run" / name
        before = file.read_bytes()
        file.write_bytes(b"{ \n")
        code, _, err = command("run")
        assert code == 2 and name in err and err.count("\n") == 1
        file.write_bytes(before)


def test_help_names_run_and_out_and_the_module_is_a_command():
    heavy = "{'scipy', 'matplotlib', 'mpi4py.MPI'} & set(sys.modules)"
    code = f"import sys; from minilte.commands.report import main; main(['--help']); assert not {heavy}"
    here = dict(capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)})
    done = subprocess.run([sys.executable, "-c", code], **here)
    assert done.returncode == 0 and "RUN... [options]" in done.stdout and "--out" in done.stdout, done.stderr
    done = subprocess.run([sys.executable, "-m", "minilte.report", "run"], **here)
    assert (done.returncode, done.stdout) == (0, "report of run in report.html\n"), done.stderr
