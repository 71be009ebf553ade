"""Folders that are whole or not there: a new one is filled, and an old one deleted, under a temporary name."""

import shutil
from pathlib import Path

from minilte.disk import folder


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """A new folder with these files: temporary folder, fsync, rename. Raises DiskTrouble."""
    new = folder.temporary(path)
    with folder.writing(path):
        new.mkdir(parents=True)
        try:
            for name, content in files.items():
                folder.write(new / name, content)
            new.rename(path)
        except BaseException:
            remove(new)
            raise
        folder.settle(path.parent)


def drop(path: Path) -> None:
    """Delete a folder: renamed first, so that no half of it keeps its name."""
    remove(path.rename(folder.temporary(path)))


def clear(place: Path) -> None:
    """Delete the temporary files and folders of processes that were killed, in a folder that is minilte's own."""
    for left in place.glob(folder.TEMPORARY):
        remove(left)


def remove(path: Path) -> None:
    """Delete a file or a folder; of a link the link alone."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
