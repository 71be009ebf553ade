"""SIGINT and SIGTERM before there is anything to save, from a program's first line on."""

import os
import signal
import threading
import time
from collections.abc import Callable

from minilte.comm.launch import INTERRUPTED, STOPS, first_of_job

PAUSE = 0.05  # seconds; a launcher that sees processes end may lose what they have just written


def early(name: str) -> None:
    """Where the module of this name is the program itself, signals end it in one line, also while it is still being imported."""
    if name == "__main__":
        handled(leave)


def leave(number: int, _) -> None:
    """The end of a process that has nothing to save yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        if first_of_job():
            os.write(2, INTERRUPTED.encode())
        time.sleep(PAUSE)
    finally:
        os._exit(128 + number)


def handled(handler: Callable) -> None:
    """SIGINT and SIGTERM by this handler; a command in a thread leaves them to the program."""
    if in_main_thread():
        for number in STOPS:
            signal.signal(number, handler)


def in_main_thread() -> bool:
    """Is this the thread that may handle signals, and that says for all what is done with warnings?"""
    return threading.current_thread() is threading.main_thread()
