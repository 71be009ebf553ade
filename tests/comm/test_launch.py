"""What is looked at before MPI starts."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from minilte.comm import launch
from minilte.core.errors import BadInput


def test_too_little_shared_memory_is_named_before_mpi_ends_in_a_bus_error(tmp_path, monkeypatch):
    (tmp_path / "left").touch()
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(launch.shutil, "disk_usage", lambda place: usage(int(8e6)))
    with pytest.raises(BadInput, match="8 MB are free, 3 processes need up to 12; it holds 1 files"):
        launch.refuse_full_memory(3, tmp_path)
    assert launch.refuse_full_memory(2, tmp_path) is None
    assert launch.refuse_full_memory(3, tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("name", "yes"), [("PMI_SIZE", True), ("OMPI_COMM_WORLD_SIZE", True), ("SLURM_STEP_ID", True), ("HOME", False)]
)
def test_a_launcher_is_known_by_its_variables(monkeypatch, name, yes):
    for other in [other for other in os.environ if other.startswith(launch.MARKS)]:
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, "1")
    assert launch.launched() is yes


@pytest.mark.parametrize("name", list(launch.LAUNCHERS))
def test_a_launcher_promises_as_many_processes_as_its_variable_says(monkeypatch, name):
    for other in launch.LAUNCHERS:
        monkeypatch.delenv(other, raising=False)
    assert launch.promised() == (1, "")
    monkeypatch.setenv(name, "4")
    assert launch.promised() == (4, launch.LAUNCHERS[name])
    monkeypatch.setenv(name, "four")
    assert launch.promised() == (1, "")


def test_a_job_needs_an_mpirun(monkeypatch):
    monkeypatch.setattr(launch.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BadInput, match="no mpirun is on PATH"):
        launch.job(2, "minilte.train")
    monkeypatch.setattr(launch.shutil, "which", lambda *_, **__: "/bin/mpirun")
    assert launch.job(2, "minilte.train")[:3] == ["/bin/mpirun", "-n", "2"]


# ---------------------------------------------------------------- signals while MPI starts

STUCK = """import ctypes, signal
from minilte.comm.launch import startup_limit
{handlers}
with startup_limit(2):
    print("begun", flush=True)
    lock, libc = ctypes.create_string_buffer(64), ctypes.PyDLL(None)  # calls of PyDLL keep the interpreter
    libc.pthread_mutex_lock(lock)
    libc.pthread_mutex_lock(lock)  # waits for ever, and no signal ends that: as MPI_Init without its peers
"""
LEAVE = "import os\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, lambda n, _: os._exit(128 + n))"
DEAF = "signal.signal(signal.SIGTERM, lambda *_: None)"


@pytest.mark.parametrize(
    ("handlers", "number", "code"),
    [(LEAVE, signal.SIGTERM, 143), (LEAVE, signal.SIGINT, 130), (DEAF, signal.SIGTERM, -signal.SIGKILL)],
    ids=["SIGTERM", "SIGINT", "no answer"],
)
def test_a_signal_to_all_of_a_job_ends_a_process_that_waits_for_its_peers(handlers, number, code):
    program = STUCK.format(handlers=handlers)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    time.sleep(0.1)
    begun = time.monotonic()
    os.killpg(process.pid, number)
    try:
        assert process.wait(10) == code and time.monotonic() - begun < 3
        assert process.stdout.read() == b""  # and the child, which has it open too, is gone
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_after_the_start_the_handlers_are_those_of_before():
    before = {number: signal.getsignal(number) for number in launch.STOPS}
    heard = []
    try:
        signal.signal(signal.SIGTERM, lambda *_: heard.append("term"))
        with launch.startup_limit(2):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == ["term"] and signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
        assert not launch.STOPS & signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_process_that_does_not_hear_of_a_signal_is_ended_in_its_name(monkeypatch):
    """As where the signal comes in the middle of C code that no handler may interrupt."""
    monkeypatch.setattr(launch, "LOOKS", 0.02)
    monkeypatch.setattr(launch, "ENDING", 0.1)
    told, asked = (os.pipe() for _ in range(2))
    monkeypatch.setenv("PMI_FD", str(asked[1]))
    for name in launch.NUMBERS:
        monkeypatch.delenv(name, raising=False)
    if (deaf := os.fork()) == 0:
        os.dup2(told[1], 2)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, launch.STOPS)
        with launch.startup_limit(2, 60.0):
            (holder,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            os.kill(int(holder), signal.SIGTERM)
            time.sleep(20)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(deaf, 0)[1]) == -signal.SIGKILL
    assert os.read(told[0], 200) == launch.INTERRUPTED.encode()
    assert os.read(asked[0], 200) == b"cmd=abort exitcode=143\n"
    for handle in (*told, *asked):
        os.close(handle)
