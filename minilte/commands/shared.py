"""What every command shares: how it is declared, meets its processes, fails and ends."""

import contextlib
import dataclasses
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from minilte.comm.agree import agreed, alike
from minilte.comm.launch import STOPS, first_of_job
from minilte.comm.solo import Solo
from minilte.commands.signals import handled, in_main_thread, leave
from minilte.commands.streams import hold, say, settle
from minilte.core.errors import BadInput, MinilteError
from minilte.settings.flags import parse, parser
from minilte.settings.knob import flag_name, knob, of_knobs

JSON = knob(False, "write JSON on stdout and nothing else")


@of_knobs
class Common:
    """What every command has; `complain` reads it from the command line."""

    debug: bool = knob(False, "show tracebacks")


class Command(NamedTuple):
    """A command: body(options, given, transport) on every process returns the exit code.

    `given` are the values on the command line by name, with the settings of a run if `trains`.
    """

    prog: str
    summary: str
    options: type  # of knobs
    body: Callable[[Any, dict, Any], int]
    trains: bool = False  # it has flags for the settings of a run, and runs under MPI; of others process 0 does all
    settings: bool = False  # it has flags for the settings of a run

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run it in the program that calls, and return the exit code; what it changes of the process is put back."""
        with guest():
            return self.start(sys.argv[1:] if argv is None else argv)

    def exit(self) -> None:
        """Run it as all that this process does: python -m minilte.NAME. Nothing is put back, and signals end the process."""
        handled(leave)  # until a run has something to save
        raise SystemExit(self.start(sys.argv[1:]))

    def start(self, argv: Sequence[str]) -> int:
        """The command on a command line; --help touches nothing else."""
        hold()
        argv, first = list(argv), first_of_job()
        try:
            if "-h" in argv or "--help" in argv:
                if first:
                    say(self.flags().format_help().rstrip())
                return 0
            if not self.trains and not first:
                return 0
            return run(self.read_and_do, argv, None if self.trains else Solo())
        finally:
            settle()

    def flags(self):
        """The parser of its flags."""
        return parser(self.prog, self.summary, self.options, Common, settings=self.trains or self.settings)

    def read(self, argv: Sequence[str]) -> tuple[Any, dict]:
        """(options, all that is given). Raises BadInput."""
        given = parse(self.flags(), argv)
        own = [field.name for field in dataclasses.fields(self.options) if field.name in given]
        return self.options(**{name: given[name] for name in own}), given

    def read_and_do(self, argv: Sequence[str], transport) -> int:
        """The body on a command line that is the same on every process."""
        options, given = agreed(transport, lambda: self.read(argv))
        alike(transport, {"command line": argv}, "the")
        return self.body(options, given, transport)


@contextlib.contextmanager
def guest() -> Iterator[None]:
    """Handlers of signals, and what is said of warnings, are after the `with` what they were before."""
    if not in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it was not Python that set it
                signal.signal(number, handler)


def run(body: Callable, argv: Sequence[str], transport=None) -> int:
    """body(argv, transport) on every process; returns the exit code. No process is ever left waiting for another.

    An error ends the job in one of two ways. Agreed: all processes raise the same MinilteError, process 0 prints it,
    all leave. Abort: one process alone raises; it prints its line and ends the job, and the others print nothing.
    """
    try:
        transport = transport or connect()
    except MinilteError as error:  # before the processes can meet, each finds the same
        return complain(error, argv) if first_of_job() else exit_code(error)
    if "--debug" not in argv and in_main_thread():  # the end of a run that overflows is one line, not NumPy's dozen
        warnings.filterwarnings("ignore", category=RuntimeWarning)
    try:
        code = body(argv, transport)
    except BaseException as error:  # SystemExit too: a process that leaves early would hang the others for ever
        together = transport.size == 1 or (isinstance(error, MinilteError) and error.agreed)
        speaks = transport.process == 0 if together else transport.may_speak()
        code = complain(error, argv, transport.process) if speaks else exit_code(error)
        if not together:
            transport.abort(code)
    transport.leave(code)
    return code


def connect():
    """The transport of this process: its MPI job, or itself alone."""
    from minilte.comm import launch, mpi

    transport = mpi.connect()
    if transport is None and launch.launched():
        say("note: no MPI library found: all heads run in this process")
    return transport if transport and transport.size > 1 else Solo()


def exit_code(error: BaseException) -> int:
    """2 bad input … 77 diverged (see `core.errors`), 130 for an interrupt, 70 for what nobody expected."""
    if isinstance(error, MinilteError):
        return error.code
    return 130 if isinstance(error, KeyboardInterrupt) else 70


def complain(error: BaseException, argv: Sequence[str], process: int = 0) -> int:
    """Write the one line of an error, with the traceback before it for --debug; returns its exit code."""
    if "--debug" in argv:
        say("".join(traceback.format_exception(error)).rstrip(), "stderr")
    if isinstance(error, MinilteError):
        line = str(error)
    elif isinstance(error, KeyboardInterrupt):
        line = "interrupted before the first step"
    elif isinstance(error, SystemExit):
        line = f"process {process}: left early by sys.exit({error.code!r}); the run ends here, go on with --resume"
    else:
        line = f"process {process}: {type(error).__name__}: {error}; --debug shows where"
    say(f"minilte: error: {cut(' '.join(line.split()))}", "stderr")
    return exit_code(error)


HEAD, TAIL = 300, 200  # letters of a line that are kept: its start says where, its end the remedy


def cut(line: str) -> str:
    """The line without its middle, where it is too long to read."""
    return line if len(line) <= HEAD + TAIL + 3 else f"{line[:HEAD]} … {line[-TAIL:]}"


def refuse_beside(name: str, given: dict, others: Sequence[str], reason: str) -> None:
    """Raises BadInput if another flag stands beside `name`."""
    for other in others:
        if other in given:
            raise BadInput(f"{flag_name(name)}: got --{flag_name(other)} beside it, but {reason}; leave one out")


def catch_signals() -> Callable[[], int]:
    """SIGINT and SIGTERM ask the run to save and stop, a second one stops at once. Returns: () -> signal or 0."""
    asked = [0]

    def handler(number, _):
        if asked[0]:
            os._exit(128 + number)
        asked[0] = number

    handled(handler)
    return lambda: asked[0]
