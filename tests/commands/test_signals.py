"""Signals that arrive while a program is still being imported."""

import signal
import subprocess
import sys

import pytest

from minilte.commands import COMMANDS, signals

STOPPED = """import os, runpy, sys
class Finder:
    def find_spec(name, *_):
        if name == "numpy":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder)
runpy.run_module("minilte.{name}", run_name="__main__", alter_sys=True)"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "name", sorted(COMMANDS.keys() - {"experiments"})
)  # a package: Python imports its claims first
def test_a_signal_while_a_command_is_imported_ends_it_in_one_line(name, number):
    program = [sys.executable, "-c", STOPPED.format(number=int(number), name=name), "--help"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == "minilte: error: interrupted before the first step\n"


def test_a_command_that_is_imported_by_a_program_leaves_its_signals_alone():
    before = [signal.getsignal(number) for number in signals.STOPS]
    signals.early("minilte.train")
    assert [signal.getsignal(number) for number in signals.STOPS] == before
