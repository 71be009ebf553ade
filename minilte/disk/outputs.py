"""Where a command writes what it was asked for: a new file, or a file of its own kind from before."""

import os
from pathlib import Path

from minilte.core.errors import BadInput
from minilte.disk.files import encoded, opened, reason, shown

BEGINNING = 4096  # bytes of a file that say of what kind it is


def refuse_place(out: Path, kind: str = "", sign: bytes = b"") -> None:
    """Raises BadInput for a place that is taken, or cannot be written; a file of a kind, with its sign, may be there.

    Whatever else is there stays closed: opening a pipe could wait for ever.
    """
    where = f"out {shown(out)}"
    try:
        encoded(out)
        if not out.parent.is_dir():
            raise BadInput(f"{where}: no folder {shown(out.parent)}; make it first, or name another")
        if is_taken(out) and not (kind and out.is_file() and sign in beginning(out)):
            raise BadInput(f"{where}: it exists already{kind and f' and is no {kind}'}; name another")
    except OSError as trouble:
        raise BadInput(f"{where}: {reason(trouble)}; name another") from None
    if not os.access(out.parent, os.W_OK):
        raise BadInput(f"{where}: {shown(out.parent)} cannot be written; name another")


def make_folder(place: Path) -> None:
    """A folder for outputs, new or as it is. Raises BadInput where there is something else, or nothing can be made."""
    try:
        encoded(place)
        place.mkdir(parents=True, exist_ok=True)
    except OSError as trouble:
        raise BadInput(f"out {shown(place)}: {reason(trouble)}; name a folder that can be written") from None


def is_taken(path: Path) -> bool:
    """Is there a file, a folder or a link? Raises OSError for a name that no file can have."""
    try:
        os.lstat(path)
        return True
    except FileNotFoundError:
        return False


def beginning(path: Path) -> bytes:
    """The first bytes of a regular file. Raises BadInput."""
    with opened(path) as stream:
        return stream.read(BEGINNING)
