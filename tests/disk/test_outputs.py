"""Outputs: a new file, or a file of its own kind; whatever else is there stays, and stays closed."""

import os

import pytest

from minilte.core.errors import BadInput
from minilte.disk.outputs import refuse_place

SIGN = b"<meta mine>"


def refusal(out, *kind):
    with pytest.raises(BadInput) as caught:
        refuse_place(out, *kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [(), ("report", SIGN)], ids=["new", "report"])
def test_a_new_file_may_be_anywhere_where_there_is_a_folder(tmp_path, kind):
    assert refuse_place(tmp_path / "new", *kind) is None
    assert refusal(tmp_path / "no" / "new", *kind).startswith(
        f"out {tmp_path}/no/new: no folder {tmp_path}/no; make it first"
    )
    (tmp_path / "file").touch()
    assert "no folder" in refusal(tmp_path / "file" / "new", *kind)
    assert "zero byte" in refusal(tmp_path / "a\0b", *kind)
    assert "File name too long" in refusal(tmp_path / ("x" * 300), *kind)


MADE = {
    "a file": lambda path: path.write_text("notes"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_is_there_is_refused_and_nothing_waits_for_it(tmp_path, make):
    make(out := tmp_path / "out")
    assert refusal(out) == f"out {out}: it exists already; name another"
    assert refusal(out, "report", SIGN) == f"out {out}: it exists already and is no report; name another"


def test_a_file_of_the_same_kind_may_be_written_anew(tmp_path):
    (tmp_path / "out").write_bytes(b"<!doctype html>" + SIGN)
    assert refuse_place(tmp_path / "out", "report", SIGN) is None
    assert "it exists already" in refusal(tmp_path / "out")
    (tmp_path / "out").write_bytes(b" " * 10**5 + SIGN)
    assert "is no report" in refusal(tmp_path / "out", "report", SIGN)
