"""Opening a file that somebody else wrote: whatever is wrong with it becomes one line that names it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from minilte.core.errors import BadInput

LIMIT = 2 * 2**30  # bytes; a file that holds, or declares that it unpacks to, more is refused unread


def shown(path: str | os.PathLike) -> str:
    """The path as an error prints it: plain, or quoted where a line break in it would break the one line."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def reason(error: Exception) -> str:
    """What the operating system or a decoder says of the trouble, on one line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """The bytes of a regular file, open for reading.

    A folder, a device or a pipe is refused before it is opened: opening a pipe could wait for ever.
    Raises BadInput where the file cannot be opened, or cannot be read inside the `with`.
    """
    try:
        if "\0" in os.fspath(path):  # open would raise ValueError
            raise BadInput(f"{shown(path)}: expected a path without a zero byte")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadInput(f"{shown(path)}: expected a file, got a folder or a device")
        with open(path, "rb") as stream:
            yield stream
    except OSError as error:
        raise BadInput(f"{shown(path)}: cannot be read: {reason(error)}") from error
