"""The run folder: every write is atomic, so every file in it is whole."""

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minilte.core.errors import BadInput, DiskTrouble
from minilte.disk.files import TEXT, content, encoded, opened, reason, shown

PATIENCE = 2.0  # seconds; when mpirun is back from a job that was killed, its processes may still be on their way out
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DEEPEST = 3  # folders inside each other in a run folder: versus-full/ckpt/step-N
TEMPORARY = ".minilte-*.tmp"  # names of files and folders that are still being written; * stands for a random word


def create(path: Path) -> Path:
    """A new or empty folder; temporary files that a killed start left do not count. Raises BadInput."""
    where = f"out {shown(path)}"
    try:
        encoded(path)
    except BadInput as trouble:
        raise BadInput(f"out {trouble}; name another") from None
    try:
        if path.exists() and not path.is_dir():
            raise BadInput(f"{where}: expected a folder, found a file")
        path.mkdir(parents=True, exist_ok=True)
        if any(not found.match(TEMPORARY) for found in path.iterdir()):
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
                    f"{shown(path)}: another process is running it; stop that process first, or name another folder"
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


def temporary(path: Path) -> Path:
    """A name beside the path that no other file has, nor any other process takes."""
    return path.with_name(TEMPORARY.replace("*", os.urandom(6).hex()))


def write(path: Path, content: bytes) -> None:
    """The whole content or the old file: temp file, fsync, rename, fsync of the folder. Raises DiskTrouble."""
    new = temporary(path)
    with writing(path):
        with open(new, "xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(new, path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
        settle(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError inside the `with` becomes DiskTrouble naming the path."""
    try:
        yield
    except OSError as trouble:
        remedy = "free space" if trouble.errno in NO_ROOM else "mend that"
        raise DiskTrouble(f"cannot write {shown(path)}: {reason(trouble)}; {remedy}") from None


def settle(path: Path) -> None:
    """fsync: writes to a file, or renames in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_lost(path: Path, names: Iterable[str]) -> None:
    """Raises DiskTrouble for a file of the folder that has gone while a run wrote there."""
    for name in names:
        if not (file := path / name).exists():
            raise DiskTrouble(f"{shown(file)}: it has gone while the run went on; put it back")


def refuse_links(path: Path, deepest: int = DEEPEST) -> None:
    """Raises BadInput for a link that leads out of the folder: a run reads and writes only its own files."""
    root = path.resolve()
    for place, folders, files in os.walk(path):
        for found in (Path(place, name) for name in (*folders, *files)):
            if found.is_symlink() and not Path(os.path.realpath(found)).is_relative_to(root):
                raise BadInput(
                    f"{shown(found)}: a link that leads out of the run folder; put its target in its place"
                )
        if len(Path(place).relative_to(path).parts) >= deepest:
            folders.clear()  # os.walk then goes no deeper


def write_json(path: Path, value) -> None:
    """`value` as readable JSON, without NaN."""
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def seal(values: dict) -> str:
    """SHA-256 of a JSON object without its own seal, so that no change of it goes unseen."""
    rest = {key: value for key, value in values.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


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
    found = []
    with opened(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(TEXT), b""), 1):
            if len(line) == TEXT:
                raise BadInput(
                    f"{shown(path)}: a line of more than {TEXT} bytes, expected a record that minilte wrote"
                )
            if line.endswith(b"\n"):
                found.append(parsed(line, f"{shown(path)} line {number}"))
    return found


def write_lines(path: Path, values: Iterable[dict]) -> None:
    """A log with exactly these lines."""
    write(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())
