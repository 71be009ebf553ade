"""Whole runs side by side, each in a process of its own: a child of this one, which shares its data and its code."""

import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from minilte.core.errors import MinilteError

PAUSE = 0.2  # seconds between two looks at a wish to stop


class Interrupted(Exception):
    """A signal asked to stop; its number is the argument."""


class Lost(MinilteError):
    """A child ended without a word: it was killed, or memory ran out."""


def side_by_side(jobs: Sequence[Callable[[], Any]], width: int, wish: Callable[[], int]) -> Iterator[tuple[int, Any]]:
    """(number, outcome) of every job, as they end; at most `width` at a time. A job's own error is raised here.

    `wish()` is a signal that asked to stop, or 0: then, as after any error, the children are ended. Raises Interrupted.
    """
    waiting, running = list(enumerate(jobs))[::-1], {}
    try:
        while waiting or running:
            while waiting and len(running) < width:
                number, job = waiting.pop()
                process, pipe = begun(job)
                running[pipe] = number, process
            for pipe in wait(list(running), PAUSE):
                number, process = running.pop(pipe)
                yield number, received(pipe, process)
            if asked := wish():
                raise Interrupted(asked)
    finally:
        for pipe, (_, process) in running.items():
            process.kill()
            process.join()
            pipe.close()


def begun(job: Callable[[], Any]) -> tuple:
    """A child that works on the job, and the end of the pipe on which it says what came of it."""
    forked = multiprocessing.get_context("fork")  # the caller's functions need not be sent, nor data be read again
    ours, theirs = forked.Pipe(duplex=False)
    process = forked.Process(target=work, args=(job, theirs), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that do not fork along: none holds a lock
        process.start()
    theirs.close()
    return process, ours


def work(job: Callable[[], Any], pipe) -> None:
    """What a child does: the job, under no handler of its parent's."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a terminal, or a scheduler, sends them to all; the parent ends its children
        signal.signal(number, signal.SIG_IGN)
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # a run that overflows says so in its outcome
    try:
        said = (True, job())
    except MinilteError as trouble:
        said = (False, trouble)
    except BaseException:
        said = (False, RuntimeError(traceback.format_exc()))
    try:
        pipe.send(said)
    except OSError:  # nobody waits for it any more
        pass
    os._exit(0)


def received(pipe, process) -> Any:
    """What a child said. Raises its error, or Lost."""
    try:
        good, said = pipe.recv()
    except EOFError:
        process.join()
        raise Lost(
            f"a run ended without a word (exit code {process.exitcode}): was it killed, or memory full?"
        ) from None
    finally:
        pipe.close()
    process.join()
    if not good:
        raise said
    return said
