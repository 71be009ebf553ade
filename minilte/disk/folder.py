"""The run folder: every write is atomic, so what is there is whole."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minilte.core.errors import BadInput, DiskTrouble
from minilte.disk.files import TEXT, content, encoded, opened, reason, shown

PATIENCE = 2.0  # seconds; when mpirun is back from a job that was killed, its processes may still be on their way out
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TEMPORARY = ".tmp"  # the end of the name of what is still being written


def create(path: Path) -> Path:
    """A new or empty folder; what a start that was killed left behind does not count. Raises BadInput."""
    where = f"out {shown(path)}"
    try:
        encoded(path)
    except BadInput as trouble:
        raise BadInput(f"out {trouble}; name another") from None
    try:
        if path.exists() and not path.is_dir():
            raise BadInput(f"{where}: expected a folder, found a file")
        path.mkdir(parents=True, exist_ok=True)
        if any(found.suffix != TEMPORARY for found in path.iterdir()):
            raise BadInput(f"{where}: expected an empty or new folder; name another, or --resume {shown(path)}")
    except OSError as trouble:
        raise BadInput(f"{where}: {reason(trouble)}; name a folder that can be written") from None
    if not os.access(path, os.W_OK):
        raise BadInput(f"{where}: the folder cannot be written; name another")
    return path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """The folder for this process alone inside the `with`. Raises BadInput after `PATIENCE`."""
    try:
        handle, deadline = os.open(path, os.O_RDONLY), time.monotonic() + PATIENCE
    except OSError as trouble:
        raise BadInput(f"{shown(path)}: {reason(trouble)}; expected the folder of a run") from None
    try:
        while not locked(handle):
            if time.monotonic() > deadline:
                raise BadInput(
                    f"{shown(path)}: another process is running it; stop that one first, or name another folder"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def locked(handle: int) -> bool:
    """Try to lock an open folder; it is let go when it is closed, at the latest by the end of the process.

    A file system without locks, as some network ones are, cannot tell: there it always succeeds.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as trouble:
        if trouble.errno in (errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS):
            return True
        raise


def write(path: Path, content: bytes) -> None:
    """The whole content or the old file: temp file, fsync, rename, fsync of the folder. Raises DiskTrouble."""
    temporary = path.with_name(path.name + TEMPORARY)
    with writing(path):
        try:
            temporary.unlink(missing_ok=True)  # left by a kill; a link there would lead the bytes elsewhere
            with open(temporary, "xb") as file:
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
        remedy = "free space" if trouble.errno in NO_ROOM else "mend that"
        raise DiskTrouble(f"cannot write {shown(path)}: {reason(trouble)}; {remedy}, then --resume") from None


def settle(path: Path) -> None:
    """fsync: what was written to a file, or renamed in a folder, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_links(path: Path) -> None:
    """Raises BadInput for a link that leads out of the folder: a run reads and writes only what is its own."""
    root = path.resolve()
    for place, folders, files in os.walk(path):
        for found in (Path(place, name) for name in (*folders, *files)):
            if found.is_symlink() and not Path(os.path.realpath(found)).is_relative_to(root):
                raise BadInput(
                    f"{shown(found)}: a link that leads out of the run folder; put what it names in its place"
                )


def write_json(path: Path, value) -> None:
    """`value` as readable JSON, without NaN."""
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict:
    """The JSON object in a file. Raises BadInput naming it; a doubled key and NaN are refused."""
    try:
        text = content(path, TEXT)
    except BadInput as trouble:
        raise BadInput(f"{trouble}; expected a run folder of minilte") from None
    return parsed(text, shown(path))


def parsed(text: bytes, where: str) -> dict:
    """The JSON object that is written there. Raises BadInput."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=once, parse_constant=no_constant)
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
    with opened(path) as stream:
        return [
            parsed(line, f"{shown(path)} line {number}")
            for number, line in enumerate(lines(stream), 1)
            if line[-1:] == b"\n"
        ]


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a log, none held longer than it is looked at. Raises BadInput at one that no record can be."""
    while line := stream.readline(TEXT):
        if len(line) == TEXT:
            raise BadInput(
                f"{shown(stream.name)}: a line of more than {TEXT} bytes, expected a record that minilte wrote"
            )
        yield line


def write_lines(path: Path, values: Iterable[dict]) -> None:
    """A log with exactly these lines."""
    write(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())
