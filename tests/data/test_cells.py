import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilte.core.errors import BadInput
from minilte.data import cells
from minilte.data.cells import read_cells


@pytest.fixture
def put(tmp_path):
    def write(text):
        (tmp_path / "file.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(tmp_path / "file.csv")

    return write


def refused(path):
    with pytest.raises(BadInput) as caught:
        read_cells(path)
    message = str(caught.value)
    assert "file.csv" in message and "\n" not in message
    return message


def test_without_a_header_every_row_counts_and_the_last_column_is_the_target(put):
    table = read_cells(put("1,2,0\n3,4,1\n"))
    assert table.x.tolist() == [[1, 2], [3, 4]] and table.y.tolist() == [0, 1]
    assert table.lines.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("header", "column"),
    [("a,b,c", 2), ("0,1,label", 2), ("a,b,label", 2), ("a,Target,c", 1), ("y,b,c", 0), (" label ,b,c", 0)],
)
def test_the_target_is_the_column_so_named_or_the_last(put, header, column):
    table = read_cells(put(f"{header}\n1,2,3\n4,5,6\n"))
    assert table.y.tolist() == [1 + column, 4 + column]
    assert table.x.tolist() == np.delete([[1, 2, 3], [4, 5, 6]], column, axis=1).tolist()


def test_ways_of_writing_the_same_table_agree(put):
    plain = read_cells(put("1.5,0\n-20,1\n"))
    for text in (
        "1.5,0\r\n-20,1\r\n",
        "\ufeff1.5,0\n-20,1",
        "\n1.5,0\n\n-20,1\n\n",
        ' 1.5 , 0 \n"-20","1"\n',
        "+1.5e0,0\n-2E+1,1\n",
        "1.50,00\n-20.,+1\n",
    ):
        table = read_cells(put(text))
        assert table.x.tolist() == plain.x.tolist() and table.y.tolist() == plain.y.tolist()


def test_a_target_is_whole_without_point_and_exponent(put):
    whole = read_cells(put("0,1\n0,1.0\n0,1e0\n0,-1\n0,1.\n")).whole
    assert whole.tolist() == [True, False, False, True, False]


def test_lines_are_those_of_the_file(put):
    table = read_cells(put('a,b\n\n1,0\n"2\n",0\n3,0\n'))
    assert table.lines.tolist() == [3, 5, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b\n", "a header and no rows"),
        ("1,2\n3\n", "line 2 column 2 is missing: 1 cells, expected 2"),
        ("a,b,c\n1,2,3\n\n1,2\n", "line 4 column 3 ('c') is missing: 2 cells, expected 3"),
        ("a,b\n1,2\n1,2,3\n", "line 3 column 3 is one too many: 3 cells, expected 2"),
        ("1,2\n1,2,3,4\n", "line 2 column 3 is one too many: 4 cells, expected 2"),
        ("a,b\nred,1\n", "line 2 column 1 ('a'): expected a finite number, got 'red'"),
        ("1,2\n3,\n", "line 2 column 2: expected a finite number, got ''"),
        ("1,,2\n", "line 1 column 2: expected a finite number, got ''"),
        ("1,nan\n", "line 1 column 2: expected a finite number, got 'nan'"),
        ("1,2\ninf,2\n", "line 2 column 1: expected a finite number, got 'inf'"),
        ("1,2\n1e999,2\n", "line 2 column 1: expected a finite number, got '1e999'"),
        ("1,2\n1_0,2\n", "line 2 column 1: expected a finite number, got '1_0'"),
        ("1,2\n0x1,2\n", "line 2 column 1: expected a finite number, got '0x1'"),
        ("1,2\n١,2\n", "line 2 column 1: expected a finite number, got '١'"),
        ("a;b\n1;2\n", "line 1: 1 column, expected features and a target"),
        (",a,b\n0,1,2\n", "line 1 column 1: no name"),
        ("y,a,label\n0,1,2\n", "columns [1, 3] are all named as targets"),
        ('1,2\n"3,4\n', "not CSV: unexpected end of data"),
        ('1,2\n"3"4,5\n', "line 2: not CSV"),
        (b"1,2\n\xff,3\n", "not text in utf-8"),
        ("1,2\n".encode("utf-16"), "not text in utf-8"),
        (b"\x1f\x8b\x08\x00", "not text in utf-8"),
        ("1,2\n" + "9" * 200000 + ",3\n", "line 2: not CSV: field larger than field limit"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_with_its_place(put, text, message):
    assert message in refused(put(text))


def test_a_long_cell_is_refused_quickly_and_cut_in_the_message(put):
    assert len(refused(put("1,2\n" + "1" * 130000 + "x,3\n"))) < 500


def test_a_file_over_the_limit_is_refused_unread(put, monkeypatch):
    monkeypatch.setattr(cells, "LIMIT", 3)
    assert "larger than 3 bytes" in refused(put("1,2\n"))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text('0123456789,.-+e\n" ay', max_size=60).map(str.encode)))
def test_random_bytes_are_refused_or_are_finite_numbers(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "file.csv"
    path.write_bytes(data)
    try:
        table = read_cells(path)
    except BadInput as error:
        assert "\n" not in str(error)
        return
    assert np.isfinite(table.x).all() and np.isfinite(table.y).all()
    assert len(table.x) == len(table.y) == len(table.whole) == len(table.lines)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3), min_size=1, max_size=8))
def test_numbers_written_by_python_are_read_back_exactly(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "file.csv"
    path.write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
    table = read_cells(path)
    assert np.column_stack([table.x, table.y]).tolist() == [list(row) for row in rows]
