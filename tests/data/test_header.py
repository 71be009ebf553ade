import pytest

from minilte.core.errors import BadInput
from minilte.data.cells import read_cells
from minilte.data.header import is_word, layout

BELOW = "4,4,6,1\n8,0,1,1\n7,8,2,0\n"


@pytest.fixture
def read(tmp_path):
    """The table of a text."""

    def of(text, target=""):
        (tmp_path / "file.csv").write_text(text)
        return read_cells(str(tmp_path / "file.csv"), target)

    return of


@pytest.mark.parametrize(
    ("head", "column", "said"),
    [
        ("# label,a,b,c", 0, "line 1 is the header; the target is column 1 ('label')"),
        ("#label,a,b,c", 0, "line 1 is the header; the target is column 1 ('label')"),
        ('"a", "label", "b", "c"', 1, "line 1 is the header; the target is column 2 ('label')"),
        ("a,'label',b,c", 1, "the target is column 2 "),
        ("a,Class,b,c", 1, "the target is column 2 ('Class')"),
        ("a,b,c,d", 3, "line 1 is the header; the target is column 4 ('d'), the last"),
        ("label,0,1,2", 0, "line 1 is the header; the target is column 1 ('label')"),
        ("0,1,2,label", 3, "line 1 is the header; the target is column 4 ('label')"),
    ],
)
def test_a_header_is_taken_for_one_and_its_target_is_said(read, head, column, said):
    table = read(f"{head}\n{BELOW}")
    assert table.y.tolist() == [[4, 8, 7], [4, 0, 8], [6, 1, 2], [1, 1, 0]][column] and said in table.said


def test_without_a_header_no_row_is_lost_and_it_is_said(read):
    table = read(BELOW)
    assert table.y.tolist() == [1, 1, 0] and table.said == "no header; the target is column 4, the last"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("0,1,2,3", "line 1: 0, 1, 2, … are the names that pandas gives to columns, or a row"),
        ("NA,2,3,0", "line 1 column 1: expected a finite number, got 'NA'"),
        ("n/a,2,3,0", "line 1 column 1: expected a finite number, got 'n/a'"),
        ('"1,234",2,3,0', "line 1 column 1: expected a finite number, got '1,234'"),
        ("?,2,3,0", "line 1 column 1: expected a finite number, got '?'"),
        ("none,2,3,0", "column 1 ('none') is a word and column 2 a number, so it may be a header or a row"),
        ("red,2,3,0", "column 1 ('red') is a word and column 2 a number"),
        ("a,b,c,7", "column 1 ('a') is a word and column 4 a number"),
    ],
)
def test_a_first_row_that_can_be_read_in_two_ways_is_refused(read, head, message):
    with pytest.raises(BadInput) as caught:
        read(f"{head}\n{BELOW}")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_words_as_labels_need_no_header_and_lose_no_row(read):
    table = read("5.1,3.5,cat\n4.9,3.0,dog\n")
    assert table.y.tolist() == ["cat", "dog"] and table.x.tolist() == [[5.1, 3.5], [4.9, 3.0]]
    first = read("cat,5.1\ndog,4.9\n", target="1")
    assert first.y.tolist() == ["cat", "dog"] and first.x.tolist() == [[5.1], [4.9]]
    named = read("a,b,kind\n5.1,3.5,cat\n4.9,3.0,dog\n")
    assert named.y.tolist() == ["cat", "dog"] and "line 1 is the header" in named.said


def test_a_word_that_is_also_the_name_of_a_target_is_refused_as_a_first_row(read):
    with pytest.raises(BadInput, match="it may be a header or a row"):
        read("5.1,3.5,y\n4.9,3.0,n\n")


@pytest.mark.parametrize("text", ["1,cat\n2,3\n", "1,3\n2,cat\n", "1,1.5\n2,cat\n"])
def test_words_and_numbers_among_the_targets_are_refused_with_both_lines(read, text):
    with pytest.raises(BadInput) as caught:
        read(f"a,b\n{text}")
    assert "'cat' is a word" in str(caught.value) and "line 2" in str(caught.value) and "line 3" in str(caught.value)


@pytest.mark.parametrize("cell", ["", "NA", "nan", "?", "1,5"])
def test_a_target_that_is_missing_is_no_label(read, cell):
    with pytest.raises(BadInput, match="line 3 column 2 .*expected a finite number"):
        read(f'a,b\n1,cat\n2,"{cell}"\n')


@pytest.mark.parametrize(("wanted", "at"), [("a", 0), ("1", 0), ("c", 2), ("3", 2), ("b", 1)])
def test_the_target_that_is_wanted_is_taken_before_any_that_is_named(wanted, at):
    found = layout(["a", "label", "c"] if wanted != "b" else ["a", "b", "label"], [], wanted, "here")
    assert found.target == at and "the last" not in found.said(1, True)


def test_a_name_wins_over_a_number_where_columns_are_named_by_numbers():
    assert layout(["label", "2", "1"], [], "1", "here").target == 2


@pytest.mark.parametrize("wanted", ["z", "0", "4", "-1", "9" * 30, "9" * 5000, "²", "１"])
def test_a_target_that_no_column_is_is_refused_with_the_columns(wanted):
    with pytest.raises(BadInput) as caught:
        layout(["a", "b", "c"], [], wanted, "here")
    assert "fits 0 columns, expected one name of the columns a, b, c, or 1 to 3" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_name_with_a_line_break_is_shown_on_one_line():
    with pytest.raises(BadInput, match=r"^here: .* of the columns a, 'b\\nc', or 1 to 2$"):
        layout(["a", "b\nc"], [], "z", "here")


def test_a_word_has_a_letter_and_is_no_number():
    assert all(map(is_word, ("cat", "1x1", "é", "none", "0x1f")))
    assert not any(map(is_word, ("", "1", "1e5", "nan", "-inf", "NA", "1,234", "?", "--", "1_0")))
