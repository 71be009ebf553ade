"""The run folder: every write is atomic, so what is there is whole."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from minilte.core.errors import BadInput, DiskTrouble


def create(path: Path) -> Path:
    """A new or empty folder. Raises BadInput where something is in the way."""
    try:
        if path.exists() and not path.is_dir():
            raise BadInput(f"out {path}: expected a folder, found a file")
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise BadInput(f"out {path}: expected an empty or new folder; name another, or --resume {path}")
    except OSError as trouble:
        raise BadInput(f"out {path}: {trouble.strerror or trouble}; name a folder that can be written") from None
    if not os.access(path, os.W_OK):
        raise BadInput(f"out {path}: the folder cannot be written; name another")
    return path


def write(path: Path, content: bytes) -> None:
    """The whole content or the old file: temp file, fsync, rename, fsync of the folder. Raises DiskTrouble."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        settle(path.parent)
    except OSError as trouble:
        temporary.unlink(missing_ok=True)
        raise DiskTrouble(f"cannot write {path}: {trouble.strerror or trouble}; free space, then --resume") from None


def settle(folder: Path) -> None:
    """fsync of a folder: renames in it are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value) -> None:
    """`value` as readable JSON, without NaN."""
    write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path):
    """The JSON in a file. Raises BadInput naming it; a doubled key and NaN are refused."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    except OSError as trouble:
        raise BadInput(f"{path}: {trouble.strerror or trouble}; expected a run folder of minilte") from None
    except (UnicodeDecodeError, ValueError, RecursionError) as trouble:
        raise BadInput(f"{path}: not the JSON that minilte wrote ({str(trouble).splitlines()[0]})") from None


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
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(value, allow_nan=False) + "\n")
    except OSError as trouble:
        raise DiskTrouble(f"cannot write {path}: {trouble.strerror or trouble}; free space, then --resume") from None


def read_lines(path: Path) -> list[dict]:
    """The whole lines of a log; a last line cut short by a crash is dropped."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line, object_pairs_hook=once) for line in whole]


def write_lines(path: Path, values: Iterable[dict]) -> None:
    """A log with exactly these lines."""
    write(path, "".join(json.dumps(value, allow_nan=False) + "\n" for value in values).encode())
