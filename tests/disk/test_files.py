import os

import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.disk.files import brief, opened, shown


def test_a_regular_file_is_opened_for_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    with opened(tmp_path / "a") as stream:
        assert stream.read() == b"123"


@pytest.mark.parametrize("path", ["missing", ".", "/dev/null", "x" * 5000, "zero\0byte", "line\nbreak"])
def test_what_is_no_readable_file_is_one_line(tmp_path, path):
    with pytest.raises(BadInput) as caught, opened(os.path.join(tmp_path, path)):
        pass
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="pipe: expected a file"), opened(tmp_path / "pipe"):
        pass


def test_trouble_while_reading_names_the_file(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    with pytest.raises(BadInput, match="a: cannot be read: Input/output error"), opened(tmp_path / "a"):
        raise OSError(5, "Input/output error")


def test_a_plain_path_is_shown_as_it_is_and_others_quoted():
    assert shown("a b/ä.csv") == "a b/ä.csv"
    assert shown("a\nb") == r"'a\nb'"
    assert shown(os.fsdecode(b"\xff")).isascii()


def test_a_value_is_shown_on_one_line_of_60_letters():
    assert brief("a  b") == "'a  b'" and brief("a\nb") == r"'a\nb'"
    shown = brief(np.eye(9))
    assert shown.startswith("array([[1., 0.,") and "\n" not in shown and len(shown) == 60
