"""Files from elsewhere: every fault becomes a BadInput of a single line that names the file."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from minilte.core.errors import BadInput

LIMIT = 2 * 2**30  # bytes; a file that holds, or declares that it unpacks to, more is refused unread
TEXT = 8 * 2**20  # bytes of settings, of a JSON object, of a line of a log: more than minilte ever writes
FREE, RATIO = 64 * 2**20, 200  # bytes that any file may unpack to; beyond them, this many for each of its own


def shown(path: str | os.PathLike) -> str:
    """The path as an error prints it: quoted where a line break in it would break the line."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def reason(error: Exception) -> str:
    """The message of the operating system or of a decoder, on a single line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def encoded(path: str | os.PathLike) -> bytes:
    """The path as the operating system takes it. Raises BadInput where there is no such thing."""
    try:
        if b"\0" not in (name := os.fsencode(path)):
            return name
    except UnicodeEncodeError:  # half of a surrogate pair, as "\\ud800" in JSON
        pass
    raise BadInput(f"{shown(path)}: expected a path without a zero byte, in characters that a path can hold")


def small_enough(declared: int, packed: int, where: str) -> None:
    """Raises BadInput for a small file that would fill the memory; no data worth training on packs so well."""
    if declared > max(FREE, RATIO * packed):
        raise BadInput(
            f"{where}: {packed} bytes that declare to unpack to {declared}, expected at most {RATIO} times as many:"
            " store it without packing"
        )


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """The bytes of a regular file, open for reading.

    A folder, a device or a pipe is refused before it is opened: opening a pipe could wait for ever.
    Raises BadInput where the file cannot be opened, or cannot be read inside the `with`.
    """
    try:
        if not stat.S_ISREG(os.stat(encoded(path)).st_mode):
            raise BadInput(f"{shown(path)}: expected a file, got a folder or a device")
        with open(path, "rb") as stream:
            yield stream
    except OSError as error:
        raise BadInput(f"{shown(path)}: cannot be read: {reason(error)}") from error


def content(path: str | os.PathLike, most: int) -> bytes:
    """All bytes of a regular file. Raises BadInput where it has more than `most`, unread, or is not what it says."""
    with opened(path) as stream:
        if (size := os.fstat(stream.fileno()).st_size) > most:
            raise BadInput(f"{shown(path)}: {size} bytes, expected at most {most}")
        data = stream.read(size)
        if stream.read(1):  # those of /proc say that they are empty
            raise BadInput(f"{shown(path)}: more bytes than the {size} of its size, expected a file that is at rest")
        return data


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of the bytes of a regular file, in hexadecimal. Raises BadInput where it cannot be read."""
    with opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def brief(value) -> str:
    """The value as an error shows it: at most 60 letters, on a single line."""
    try:
        return " ".join(map(str.strip, repr(value).splitlines()))[:60]  # of an array NumPy writes several lines
    except (ValueError, RecursionError):  # a number of 5,000 digits, a list in a list in a list …
        return f"{WORDS.get(type(value), type(value).__name__)} too long to show"
