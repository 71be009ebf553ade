"""What every command shares: one line for an error, one code for its kind, and nobody left waiting."""

import importlib
import os
import signal
import threading
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.solo import Solo
from minilte.commands import COMMANDS
from minilte.commands import shared as command
from minilte.core.errors import (
    BadInput,
    DiskTrouble,
    Diverged,
    ProcessesDisagree,
    ProcessLost,
)
from minilte.settings.knob import of_knobs


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
        patch.setattr(command, "say", lambda line, to: said.append(line))
        command.complain(kind(text), [])
    assert len(said) == 1 and said[0].startswith("minilte: error: ") and len(said[0].splitlines()) == 1


def test_a_line_too_long_to_read_keeps_its_beginning_and_its_remedy(capsys):
    command.complain(BadInput(f"out {'x' * 8_000_000}: expected a folder; name another"), [])
    said = capsys.readouterr().err
    assert (
        len(said) < 600
        and said.startswith("minilte: error: out xxx")
        and said.endswith("x: expected a folder; name another\n")
    )
    assert command.cut(whole := "x" * 400) == whole


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


# ------------------------------------------------------------------------------------------------ guests


@of_knobs
class NoOptions:
    """None."""


def command_of(body, trains=False):
    return command.Command("prog", "what it does", NoOptions, lambda *_: body(), trains)


def test_a_command_leaves_the_program_that_calls_it_as_it_was(handlers):
    def body():
        command.catch_signals()
        return 17

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before = [signal.getsignal(number) for number in command.STOPS], list(warnings.filters)
        assert command_of(body, trains=True)([]) == 17
        assert ([signal.getsignal(number) for number in command.STOPS], list(warnings.filters)) == before


def test_a_command_in_a_thread_leaves_signals_and_warnings_to_the_program(handlers):
    codes, before = [], ([signal.getsignal(number) for number in command.STOPS], list(warnings.filters))

    def body():
        assert command.catch_signals()() == 0
        assert ([signal.getsignal(number) for number in command.STOPS], list(warnings.filters)) == before
        return 17

    thread = threading.Thread(target=lambda: codes.append(command_of(body, trains=True)([])))
    thread.start()
    thread.join()
    assert codes == [17]


def test_an_interrupt_before_anything_is_saved_ends_the_command_and_not_the_program(handlers, capsys):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    assert command_of(lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(5))([]) == 130
    assert capsys.readouterr().err == "minilte: error: interrupted before the first step\n"


# ------------------------------------------------------------------------------------------------ who does it


@pytest.mark.parametrize(("process", "did"), [("0", [1]), ("2", [])])
def test_of_a_job_process_0_alone_does_what_does_not_train(monkeypatch, process, did):
    monkeypatch.setenv("PMI_RANK", process)
    done = []
    assert command_of(lambda: done.append(1) or 0)([]) == 0 and done == did


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_but_training_is_done_by_process_0(monkeypatch, capsys, name):
    monkeypatch.setenv("PMI_RANK", "1")
    this = importlib.import_module(f"minilte.commands.{name}").main
    if not this.trains:
        assert this(["--zzz"]) == 0 and capsys.readouterr() == ("", "")
    assert this.trains == (name == "train")
