"""The machine that a run's bits depend on: processor, NumPy, BLAS, threads."""

import contextlib
import functools
import os
import platform
import threading
from collections.abc import Iterator

import numpy as np

from minilte.disk.files import brief


@functools.cache
def _controller():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_lock = threading.Lock()
_inside: list[None] = []  # an entry for every `with one_blas_thread()` that is open, in any Python thread
_limit = contextlib.ExitStack()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS uses one thread inside: two give other bits, and processes times threads starve each other.

    The limit is the process's own, so the first Python thread that comes in sets it and the last one out lifts it.
    """
    with _lock:
        if not _inside:
            _take_over()
            _limit.enter_context(_controller().limit(limits=1, user_api="blas"))
        _inside.append(None)
    try:
        yield
    finally:
        with _lock:
            _inside.pop()
            if not _inside:
                _take_over()
                _limit.close()


def _take_over() -> None:
    """Newer threadpoolctl ignores, without a word, all Python threads but the first that set a limit: become it."""
    from threadpoolctl import OpenBLASController

    getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)(force=True)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint(processes: int, transport: str) -> dict:
    """What has to be equal for equal bits, and what is good to know when they differ."""
    blas = [pool for pool in _controller().info() if pool["user_api"] == "blas"]
    first = blas[0] if blas else {}
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{first.get('internal_api')} {first.get('version')}",
        "kernel": first.get("architecture"),
        "blas_threads": 1,
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": cores(),
        "processes": processes,
        "transport": transport,
    }


SAME_BITS = (
    "numpy",
    "blas",
    "kernel",
    "blas_threads",
    "machine",
)  # the number of processes may change, these may not


def changed(before: dict, now: dict) -> list[str]:
    """What differs between two fingerprints and may change the bits, as "numpy 2.3.1 -> 2.4.0"."""
    return [f"{key} {plain(before.get(key))} -> {now[key]}" for key in SAME_BITS if before.get(key) != now[key]]


def plain(value) -> str:
    """What a file of another machine says, at most 60 letters on one line."""
    return value[:60] if isinstance(value, str) and value.isprintable() else brief(value)
