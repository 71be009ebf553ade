"""What every command shares: how it meets its processes, speaks, fails and ends."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence

from minilte.core.errors import MinilteError


def main(body: Callable, flags: Callable, argv: Sequence[str] | None, transport=None) -> int:
    """A command: its flags() for --help, which touches nothing else, or body(argv, transport) by `run`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if "-h" in argv or "--help" in argv:
        if first_of_job():
            say(flags().format_help().rstrip())
        return 0
    return run(body, argv, transport)


def run(body: Callable, argv: Sequence[str], transport=None) -> int:
    """body(argv, transport) on every process; returns the exit code. No process is ever left waiting for another.

    Ends in one of two ways. Agreed: all processes raise the same MinilteError, process 0 prints it, all leave.
    Abort: something happened on one process only; it prints its line and ends the job. What others run into then is
    not said.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)  # until a run has something to save
    try:
        transport = transport or connect()
    except MinilteError as error:  # before the processes can meet, each finds the same
        return complain(error, argv) if first_of_job() else exit_code(error)
    if "--debug" not in argv:  # the end of a run that overflows is one line, not NumPy's dozen before it
        warnings.filterwarnings("ignore", category=RuntimeWarning)
    try:
        code = body(argv, transport)
    except BaseException as error:  # SystemExit too: a process that leaves early would hang the others for ever
        agreed = transport.size == 1 or (isinstance(error, MinilteError) and error.agreed)
        speaks = transport.process == 0 if agreed else transport.may_speak()
        code = complain(error, argv, transport.process) if speaks else exit_code(error)
        if not agreed:
            transport.abort(code)
    transport.leave(code)
    return code


def connect():
    """The transport of this process: its MPI job, or itself alone."""
    from minilte.comm import launch, mpi
    from minilte.comm.solo import Solo

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
        traceback.print_exception(error)
    if isinstance(error, MinilteError):
        line = str(error)
    elif isinstance(error, KeyboardInterrupt):
        line = "interrupted before the first step"
    elif isinstance(error, SystemExit):
        line = f"process {process}: left early by sys.exit({error.code!r}); the run ends here, go on with --resume"
    else:
        line = f"process {process}: {type(error).__name__}: {error}; --debug shows where"
    print("minilte: error:", " ".join(line.split()), file=sys.stderr, flush=True)
    return exit_code(error)


def say(line: str) -> None:
    """One line on stdout; a reader that has gone away, or a full disk behind it, is no reason to stop."""
    try:
        print(line, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def first_of_job() -> bool:
    """Is this the first process, as far as a launcher says? For --help, which must not touch MPI."""
    told = (os.environ[name] for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID") if name in os.environ)
    return next(told, "0") == "0"


def leave(number: int, _) -> None:
    """The end of a process that has nothing to save yet."""
    if first_of_job():
        os.write(2, b"minilte: error: interrupted before the first step\n")
    os._exit(128 + number)


def catch_signals() -> Callable[[], int]:
    """SIGINT and SIGTERM ask the run to save and stop, a second one stops at once. Returns: () -> signal or 0."""
    asked = [0]

    def handler(number, _):
        if asked[0]:
            os._exit(128 + number)
        asked[0] = number

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    return lambda: asked[0]
