"""The run folder: every write is atomic, so what is there is whole."""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minilte.core.errors import BadInput, DiskTrouble
from minilte.data.files import reason
from minilte.runs.config import Config

PATIENCE = 2.0  # seconds; when mpirun is back from a job that was killed, its ranks may still be on their way out
TEMPORARY = ".tmp"  # the end of the name of what is still being written


def create(path: Path) -> Path:
    """A new or empty folder; what a start that was killed left behind does not count. Raises BadInput."""
    try:
        if path.exists() and not path.is_dir():
            raise BadInput(f"out {path}: expected a folder, found a file")
        path.mkdir(parents=True, exist_ok=True)
        if any(found.suffix != TEMPORARY for found in path.iterdir()):
            raise BadInput(f"out {path}: expected an empty or new folder; name another, or --resume {path}")
    except OSError as trouble:
        raise BadInput(f"out {path}: {trouble.strerror or trouble}; name a folder that can be written") from None
    if not os.access(path, os.W_OK):
        raise BadInput(f"out {path}: the folder cannot be written; name another")
    return path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """The folder for this process alone inside the `with`. Raises BadInput after `PATIENCE`."""
    handle, deadline = os.open(path, os.O_RDONLY), time.monotonic() + PATIENCE
    try:
        while not locked(handle):
            if time.monotonic() > deadline:
                raise BadInput(f"{path}: another process is running it; stop that one first, or name another folder")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def locked(handle: int) -> bool:
    """Try to lock an open folder; it is let go when it is closed, at the latest by the end of the process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def write(path: Path, content: bytes) -> None:
    """The whole content or the old file: temp file, fsync, rename, fsync of the folder. Raises DiskTrouble."""
    temporary = path.with_name(path.name + TEMPORARY)
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            settle(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the operating system refuses inside the `with` becomes DiskTrouble naming the path."""
    try:
        yield
    except OSError as trouble:
        raise DiskTrouble(f"cannot write {path}: {reason(trouble)}; free space, then --resume") from None


def settle(path: Path) -> None:
    """fsync: what was written to a file, or renamed in a folder, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_settings(path: Path) -> Config:
    """The settings that a run folder was created with. Raises BadInput."""
    if not path.is_dir():
        raise BadInput(f"{path}: no such folder; give the folder of a run")
    try:
        return Config(**read_json(path / "config.json"))
    except TypeError as trouble:  # a name that is no setting
        raise BadInput(f"{path}/config.json: {trouble}; expected the settings that minilte wrote") from None


def write_json(path: Path, value) -> None:
    """`value` as readable JSON, without NaN."""
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict:
    """The JSON object in a file. Raises BadInput naming it; a doubled key and NaN are refused."""
    try:
        return parsed(path.read_bytes(), str(path))
    except OSError as trouble:
        raise BadInput(f"{path}: {reason(trouble)}; expected a run folder of minilte") from None


def parsed(content: bytes, where: str) -> dict:
    """The JSON object that is written there. Raises BadInput."""
    try:
        value = json.loads(content.decode(), object_pairs_hook=once, parse_constant=no_constant)
        if not isinstance(value, dict):
            raise ValueError("no object")
        return value
    except (ValueError, RecursionError) as trouble:
        raise BadInput(f"{where}: not the JSON that minilte wrote ({reason(trouble)})") from None


def once(pairs: list[tuple]) -> dict:
    """A JSON object whose keys are all different."""
    if len(made := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def no_constant(word: str):
    """NaN and Infinity are not JSON."""
    raise ValueError(f"{word} is not a number")


def append_line(path: Path, value) -> None:
    """One JSON line at the end of a log. Raises DiskTrouble."""
    with writing(path), open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(value, allow_nan=False) + "\n")


def read_lines(path: Path) -> list[dict]:
    """The whole lines of a log; a last line cut short by a crash is dropped. Raises BadInput naming file and line."""
    if not path.exists():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]
    return [parsed(line, f"{path} line {number}") for number, line in enumerate(whole, 1)]


def write_lines(path: Path, values: Iterable[dict]) -> None:
    """A log with exactly these lines."""
    write(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())
