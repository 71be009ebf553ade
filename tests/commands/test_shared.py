"""What every command shares: one line for an error, one code for its kind, and nobody left waiting."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.solo import Solo
from minilte.commands import shared as command
from minilte.core.errors import BadInput, DiskTrouble, Diverged, ProcessesDisagree, ProcessLost


class Pair(Solo):
    """A process of two, which notes how it was aborted; the other may have spoken already."""

    size = 2

    def __init__(self, process, other_spoke=False):
        self.process, self.other_spoke, self.aborted = process, other_spoke, None

    def may_speak(self):
        return not self.other_spoke

    def abort(self, code):
        self.aborted = code


def raises(error):
    def body(argv, transport):
        raise error

    return body


def agreed(error):
    error.agreed = True
    return error


def run(monkeypatch, body, process=0, argv=(), other_spoke=False):
    transport = Pair(process, other_spoke)
    monkeypatch.setattr(command, "connect", lambda: transport)
    return command.run(body, argv), transport.aborted


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (DiskTrouble("x"), 74),
        (ProcessLost("x"), 75),
        (ProcessesDisagree("x"), 76),
        (Diverged("x"), 77),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 70),
        (SystemExit(0), 70),
        (SystemExit(3), 70),
        (MemoryError(), 70),
    ],
    ids=repr,
)
def test_every_kind_of_error_has_its_code(error, code):
    assert command.exit_code(error) == code


@given(st.sampled_from([BadInput, ValueError, SystemExit, OSError]), st.text())
def test_an_error_is_one_line_whatever_it_says(kind, text):
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(words)))
        command.complain(kind(text), [])
    assert len(said) == 1 and said[0].startswith("minilte: error: ") and len(said[0].splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("bad\nthing"), "process 1: ValueError: bad thing; --debug shows where"),
        (SystemExit(0), "process 1: left early by sys.exit(0); the run ends here, go on with --resume"),
        (BadInput("heads: expected 1"), "heads: expected 1"),
    ],
)
def test_a_line_names_the_process_where_nobody_expected_the_error(capsys, error, words):
    command.complain(error, [], 1)
    assert capsys.readouterr().err == f"minilte: error: {words}\n"


def test_the_traceback_is_shown_only_for_debug(capsys):
    command.complain(BadInput("x"), ["--debug"])
    shown = capsys.readouterr().err
    assert "BadInput" in shown and shown.endswith("minilte: error: x\n")


@pytest.mark.parametrize("process", [0, 1])
def test_an_agreed_error_is_told_by_process_0_and_all_leave(monkeypatch, capsys, process):
    assert run(monkeypatch, raises(agreed(BadInput("x"))), process) == (2, None)
    assert capsys.readouterr().err == ("minilte: error: x\n" if process == 0 else "")


@pytest.mark.parametrize("process", [0, 1])
@pytest.mark.parametrize("error", [BadInput("x"), ValueError("x"), SystemExit(0)], ids=repr)
def test_an_error_of_one_process_is_told_by_it_and_ends_the_job(monkeypatch, capsys, process, error):
    code = command.exit_code(error)
    assert run(monkeypatch, raises(error), process) == (code, code)
    assert capsys.readouterr().err.count("minilte: error: ") == 1


@pytest.mark.parametrize("process", [0, 1])
@pytest.mark.parametrize("error", [ProcessesDisagree("x"), ProcessLost("x"), ValueError("x")], ids=repr)
def test_what_a_process_runs_into_after_another_has_spoken_is_not_said(monkeypatch, capsys, process, error):
    code = command.exit_code(error)
    assert run(monkeypatch, raises(error), process, ["--debug"], other_spoke=True) == (code, code)
    assert capsys.readouterr().err == ""


def test_the_code_of_the_body_is_the_code_of_the_command(monkeypatch):
    assert run(monkeypatch, lambda argv, transport: 17) == (17, None)


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ({}, True),
        ({"PMI_RANK": "0"}, True),
        ({"PMI_RANK": "3"}, False),
        ({"OMPI_COMM_WORLD_RANK": "2"}, False),
        ({"SLURM_PROCID": "1"}, False),
        ({"PMI_RANK": "0", "SLURM_PROCID": "1"}, True),
    ],
    ids=str,
)
def test_the_first_process_of_a_job_is_the_one_that_the_launcher_says(monkeypatch, told, first):
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, number in told.items():
        monkeypatch.setenv(name, number)
    assert command.first_of_job() == first


@pytest.mark.parametrize("process", [0, 1])
def test_processes_that_cannot_meet_say_so_once(monkeypatch, capsys, process):
    monkeypatch.setenv("PMI_RANK", str(process))
    monkeypatch.setattr(command, "connect", lambda: (_ for _ in ()).throw(BadInput("two libraries")))
    assert command.run(raises(AssertionError()), []) == 2
    assert capsys.readouterr().err == ("minilte: error: two libraries\n" if process == 0 else "")


# ------------------------------------------------------------------------------------------------ speaking


def talk(code, **options):
    program = f"from minilte.commands.shared import say\n{code}"
    return subprocess.run([sys.executable, "-c", program], text=True, **options)


def test_a_reader_that_has_gone_away_is_no_reason_to_stop():
    read, write = os.pipe()
    os.close(read)
    done = talk(
        "say('one'); say('two'); import sys; print('alive', file=sys.stderr)", stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "alive\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_behind_stdout_is_no_reason_to_stop():
    with open("/dev/full", "w") as full:
        done = talk("say('one'); say('two')", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------ signals


@pytest.fixture
def handlers():
    """Whoever handled the signals before does again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_a_second_one_an_order(handlers, monkeypatch, number):
    wish = command.catch_signals()
    assert wish() == 0
    os.kill(os.getpid(), number)
    assert wish() == number
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    os.kill(os.getpid(), signal.SIGTERM)
    assert left == [128 + signal.SIGTERM]
