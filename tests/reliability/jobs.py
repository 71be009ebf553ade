"""Training commands as a person starts them, each in a folder of its own, seen from outside."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tiny

import minilte

BIN = Path(sys.executable).parent
MPIRUN = shutil.which("mpirun", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
ENV = os.environ | {"PYTHONPATH": str(Path(minilte.__file__).parents[1])}
PLAIN = """import sys
from minilte.commands import train
from minilte.show import pictures
pictures.run_pictures = lambda *_: None  # they take longer than all the rest
train.main.exit()"""
QUIET = ("-c", PLAIN, "--quiet")
LIMIT = 60.0  # seconds, for a job that takes one or two
PATIENCE = 5.0  # seconds, for what a job that was killed leaves behind to go away


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that is gone afterwards, with every process in it."""
    path = Path(tempfile.mkdtemp(prefix="minilte-reliability-")).resolve()
    try:
        yield path
    finally:
        end(inside(path))
        shutil.rmtree(path, ignore_errors=True)


def start(
    folder: Path,
    processes: int | None,
    *argv: str,
    program: Sequence[str] = QUIET,
    python: Sequence[str] = (sys.executable,),
    mpirun: Sequence[str] = (str(MPIRUN),),
    **env: str,
) -> subprocess.Popen:
    """The command on so many processes, None for plain python; what it says goes to `said` in its folder."""
    launcher = [] if processes is None else [*mpirun, "-n", str(processes)]
    command = [*launcher, *python, *program, *argv]
    with open(folder / "said", "wb") as said:
        return subprocess.Popen(
            command, cwd=folder, env=ENV | env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )


def ended(process: subprocess.Popen, limit: float = LIMIT) -> int | None:
    """The exit code of a job; None for one that hung and had to be killed."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def last_words(folder: Path) -> str:
    """The last line that the last job in a folder said, or the first of our own errors."""
    lines = (folder / "said").read_text(errors="replace").splitlines()
    ours = [line for line in lines if line.startswith("minilte: error:")]
    return (ours or lines[-1:] or ["nothing"])[0]


def refused(folder: Path, job: subprocess.Popen, code: int, words: Sequence[str] = ()) -> str:
    """What is wrong with the end of a job that must leave with a code and a line of ours with these words."""
    got = ended(job)
    said = (folder / "said").read_text(errors="replace")
    lines = [line for line in said.splitlines() if line.startswith("minilte: error:")]
    if got != code or len(lines) != 1 or "Traceback" in said or not all(word in lines[0] for word in words):
        return f"exit {got}, {len(lines)} lines, {last_words(folder)}"
    return f"{many} processes left" if (many := left(folder)) else ""


# ---------------------------------------------------------------- processes


def inside(folder: Path) -> list[int]:
    """The processes, other than this one, that work in a folder or below it."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours
            if Path(os.readlink(link)).is_relative_to(folder) and int(link.parent.name) != os.getpid():
                found.append(int(link.parent.name))
    return found


def pid_of(folder: Path, process: int) -> int | None:
    """The id of a process of the job in a folder; None where there is none yet, or no more."""
    for pid in inside(folder):
        with contextlib.suppress(OSError):
            if f"PMI_RANK={process}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return pid
    return None


def end(pids: list[int]) -> None:
    """Kill these processes."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def left(folder: Path) -> int:
    """How many processes of a job that ended do not go away; they are ended here."""
    deadline = time.monotonic() + PATIENCE
    while (found := inside(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    end(found)
    return len(found)


# ---------------------------------------------------------------- runs


@contextlib.contextmanager
def unsynced() -> Iterator[None]:
    """This process does not wait for the disk: what it has written outlives it, and only machines that die need more."""
    real, os.fsync = os.fsync, lambda handle: None
    try:
        yield
    finally:
        os.fsync = real


class Whole(NamedTuple):
    """A run that nothing disturbed."""

    outcome: tuple[str, str]
    written: int  # bytes of its metrics


def outcome(run: Path) -> tuple[str, str] | None:
    """What a run ended in: the hash that it tells, and that of its final weights. None where it did not end."""
    if not (run / "summary.json").exists():
        return None
    try:
        told = json.loads((run / "summary.json").read_bytes())["weights_sha256"]
        return told, hashlib.sha256((run / "final.safetensors").read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError) as trouble:
        return "not whole", str(trouble)


def written(run: Path) -> int:
    """Bytes of metrics so far: how far a run has come, as seen from outside."""
    logs = [run / "metrics.jsonl", *run.glob("versus-*/metrics.jsonl")]
    return sum(path.stat().st_size for path in logs if path.exists())


def unbroken(run: Path, **settings) -> Whole:
    """The run that nothing disturbs, in this process."""
    tiny.go_on(tiny.begin(run, **settings))
    return Whole(outcome(run), written(run))


def goes_on(folder: Path, whole: Whole, processes: int | None) -> str:
    """Resume the run in a folder; what is wrong with its end, or with what it leaves."""
    run = folder / "run"
    code = ended(start(folder, processes, "--resume=run"))
    if code != 0 or outcome(run) != whole.outcome or temporary(run) or left(folder):
        return f"resumed with exit {code}, {last_words(folder)}"
    return ""


def temporary(run: Path) -> list[str]:
    """What a run folder holds that a run only needs while it writes."""
    walked = [Path(root, name) for root, folders, files in os.walk(run) for name in folders + files]
    return sorted(str(path.relative_to(run)) for path in walked if path.suffix == ".tmp")


def until(process: subprocess.Popen, reached: Callable[[], bool]) -> bool:
    """Wait until something is reached; false where the job ended first, or did not come there."""
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        if reached():
            return True
        time.sleep(0.001)
    return False
