"""Folders are whole or not there, whatever cuts a write off."""

import contextlib
import os

import pytest

from minilte.core.errors import BadInput, DiskTrouble
from minilte.disk import folder
from minilte.job.atomic import clear, write_folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_a_folder_is_whole_or_not_there(tmp_path, monkeypatch):
    def full_disk(path, content, write=folder.write):
        if path.name == "b":
            raise DiskTrouble("full")
        write(path, content)

    with monkeypatch.context() as broken, pytest.raises(DiskTrouble):
        broken.setattr(folder, "write", full_disk)
        write_folder(tmp_path / "out", {"a": b"1", "b": b"2"})
    assert list(tmp_path.iterdir()) == []
    write_folder(tmp_path / "out", {"b": b"2"})
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == {"b": b"2"}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("broken", [False, True])
def test_what_others_left_or_made_meanwhile_stays(tmp_path, monkeypatch, broken):
    others = ["out.tmp", ".new-out.tmp/mine", ".minilte-0.tmp"]
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("precious")
    if broken:
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    for write, content in ((folder.write, b"new"), (write_folder, {"a": b"new"})):
        with pytest.raises(DiskTrouble) if broken else contextlib.nullcontext():
            write(tmp_path / "out", content)
        (tmp_path / "out").unlink() if (tmp_path / "out").is_file() else None
    assert all((tmp_path / name).read_text() == "precious" for name in others)
    assert len(list(tmp_path.iterdir())) == len(others) + (not broken)


def test_a_run_folder_is_cleared_of_its_own_temporary_files_alone(tmp_path):
    for name in (".minilte-0a.tmp", ".minilte-0b.tmp/x", "x.tmp", ".x.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    clear(tmp_path)
    assert sorted(found.name for found in tmp_path.iterdir()) == [".x.tmp", "x.tmp"]


def test_a_folder_with_a_temporary_file_of_anybody_else_is_in_use(tmp_path):
    (tmp_path / ".minilte-0a.tmp").touch()
    assert folder.create(tmp_path) == tmp_path
    (tmp_path / "x.npz.tmp").touch()
    with pytest.raises(BadInput, match="expected an empty or new folder"):
        folder.create(tmp_path)
