"""The run folder: whatever interrupts a write, what is there is whole; what is there is read or refused."""

import errno
import fcntl
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.errors import BadInput, DiskTrouble
from minilte.disk import folder

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)
STEPS = ["builtins.open", "os.fsync", "os.replace", "os.open"]  # of a write; the last is to settle the folder


class Killed(BaseException):
    """What no handler may catch: the process is gone."""


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("folder") / "file.json"


def fail(monkeypatch, step, error):
    def refuse(*_args, **_options):
        raise error

    monkeypatch.setattr(step, refuse)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_full_disk_leaves_the_old_file_or_the_new_and_nothing_beside_it(tmp_path, monkeypatch, step, old):
    path = tmp_path / "file"
    if old:
        path.write_bytes(old)
    with monkeypatch.context() as patch:
        fail(patch, step, OSError(28, "No space left on device"))
        with pytest.raises(DiskTrouble, match="cannot write .*file: No space left on device; free space"):
            folder.write(path, b"new")
    assert [found.name for found in tmp_path.iterdir()] in ([], ["file"])
    assert (path.read_bytes() if path.exists() else None) in (old, b"new")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_the_old_file_or_the_new_one_and_the_next_write_succeeds(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    folder.write(path, b"old")
    with monkeypatch.context() as patch:
        fail(patch, step, Killed())
        with pytest.raises(Killed):
            folder.write(path, b"new")
    assert path.read_bytes() in (b"old", b"new")
    folder.write(path, b"newer")
    assert [found.name for found in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"newer"


@given(OBJECTS)
def test_any_object_is_read_as_it_was_written(file, value):
    folder.write_json(file, value)
    assert folder.read_json(file) == value


@given(st.lists(OBJECTS, max_size=4))
def test_a_log_grows_line_by_line_into_what_is_written_at_once(file, values):
    folder.write_lines(file, [])
    for value in values:
        folder.append_line(file, value)
    grown = file.read_bytes()
    folder.write_lines(file, values)
    assert file.read_bytes() == grown and folder.read_lines(file) == values


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.data())
def test_a_log_cut_anywhere_keeps_its_whole_lines(file, values, data):
    folder.write_lines(file, values)
    whole = file.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:cut])
    assert folder.read_lines(file) == values[: whole[:cut].count(b"\n")]


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.text('{}[]":,\n0123456789.eE+-tfalsrunNI', max_size=40).map(str.encode)
)
def test_any_content_is_an_object_or_refused_in_one_line_that_names_the_file(file, content):
    file.write_bytes(content)
    for read in (folder.read_json, folder.read_lines):
        try:
            assert isinstance(read(file), dict if read is folder.read_json else list)
        except BadInput as error:
            assert str(error).startswith(str(file)) and "\n" not in str(error)


@pytest.mark.parametrize(
    "content",
    [
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        "[]",
        "1",
        "",
        '{"a": 1',
        '{"a": ' + "[" * 20_000,
        '{"a": ' + "1" * 5000 + "}",
        b"\xff",
        b"\x80\x04K\x01.",
    ],
    ids=lambda content: repr(content)[:25],
)
def test_what_is_not_strict_json_is_refused(file, content):
    content = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(content)
    with pytest.raises(BadInput, match="file.json: not the JSON that minilte wrote"):
        folder.read_json(file)
    file.write_bytes(b"{}\n" + content + b"\n")
    with pytest.raises(BadInput, match="file.json line 2: not the JSON that minilte wrote"):
        folder.read_lines(file)


def test_a_number_that_is_none_is_never_written(file):
    for write in (folder.write_json, folder.append_line):
        with pytest.raises(ValueError):
            write(file, {"loss": float("nan")})


def test_a_missing_file_is_named_and_a_missing_log_is_empty(tmp_path):
    with pytest.raises(BadInput, match="none.json: cannot be read: No such file or directory; expected a run folder"):
        folder.read_json(tmp_path / "none.json")
    assert folder.read_lines(tmp_path / "none.jsonl") == []


def test_a_new_folder_is_made_with_its_parents_and_an_empty_one_is_taken(tmp_path):
    path = tmp_path / "a" / "b"
    assert folder.create(path) == path and path.is_dir()
    assert folder.create(path) == path


def test_what_a_killed_start_left_behind_does_not_count(tmp_path):
    folder.temporary(tmp_path / "config.json").touch()
    assert folder.create(tmp_path) == tmp_path


def test_a_folder_with_anything_in_it_is_refused_with_both_ways_out(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadInput, match=f"out {tmp_path}: .*name another, or --resume {tmp_path}"):
        folder.create(tmp_path)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file", "expected a folder, found a file"),
        ("file/under", "Not a directory"),
        ("/proc/minilte", "name a folder that can be written"),
        ("a" * 300, "File name too long"),
    ],
)
def test_what_can_be_no_folder_is_refused_by_name(tmp_path, place, message):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=f"out .*{place}: .*{message}"):
        folder.create(tmp_path / place)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    with pytest.raises(BadInput, match="the folder cannot be written"):
        folder.create(tmp_path)


def test_a_folder_is_held_by_one_at_a_time_and_let_go_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "PATIENCE", 0)
    with pytest.raises(Killed), folder.alone(tmp_path):
        with pytest.raises(BadInput, match="another process is running it"), folder.alone(tmp_path):
            raise AssertionError("held twice")
        raise Killed
    with folder.alone(tmp_path):
        pass


def test_a_folder_that_is_let_go_soon_is_waited_for(tmp_path):
    first = folder.alone(tmp_path)
    first.__enter__()
    threading.Timer(0.1, first.__exit__, (None, None, None)).start()
    with folder.alone(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_no_reason_not_to_train(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder.alone(tmp_path):
        pass
