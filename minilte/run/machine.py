"""The machine that a run's bits depend on: processor, NumPy, BLAS, threads."""

import contextlib
import functools
import os
import platform
import threading
from collections.abc import Iterator

import numpy as np

from minilte.core.errors import BadInput
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

    The limit holds for the whole process: the first Python thread that enters sets it, the last that leaves lifts it.
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
    """Become the Python thread that may set limits: newer threadpoolctl ignores all but the first that did."""
    from threadpoolctl import OpenBLASController

    getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)(force=True)


@contextlib.contextmanager
def enough_memory(smaller: str) -> Iterator[None]:
    """A MemoryError inside the `with` becomes BadInput with the remedy."""
    try:
        yield
    except MemoryError as trouble:
        raise BadInput(f"memory: {str(trouble) or 'there is not enough'}; ask for {smaller}") from None


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint(processes: int, transport: str) -> dict:
    """What has to be equal for equal bits (`SAME_BITS`), and what may explain other bits."""
    blas = next((pool for pool in _controller().info() if pool["user_api"] == "blas"), {})
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('internal_api')} {blas.get('version')}",
        "kernel": blas.get("architecture"),
        "blas_threads": 1,
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": cores(),
        "processes": processes,
        "transport": transport,
    }


SAME_BITS = ("numpy", "blas", "kernel", "blas_threads", "machine")  # equal bits need these equal


def changed(before: dict, now: dict) -> list[str]:
    """The differences between two fingerprints that may change the bits, as "numpy 2.3.1 -> 2.4.0"."""
    return [f"{key} {plain(before.get(key))} -> {now[key]}" for key in SAME_BITS if before.get(key) != now[key]]


def plain(value) -> str:
    """A value from the file of another machine, at most 60 letters on one line."""
    return value[:60] if isinstance(value, str) and value.isprintable() else brief(value)
