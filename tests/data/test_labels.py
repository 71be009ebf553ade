import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.data.labels import classes_in, listed, names_of, numbered, plain, whole


@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 2, 3], [3, 9, 700], ["cat", "dog", "eel"]], ids=str)
def test_each_label_is_the_output_at_its_place_in_order(labels):
    y = np.array(labels)[[2, 0, 1, 1]]
    assert classes_in(y) == tuple(labels)
    got = numbered(y, labels, str)
    assert got.tolist() == [2, 0, 1, 1] and got.dtype == np.int64


@pytest.mark.parametrize("labels", [(2, 0, 1), ("dog", "cat", "eel"), (700, 3, 9)], ids=str)
def test_a_callers_classes_may_be_in_any_order(labels):
    y = np.array(labels)[[2, 0, 1, 1]]
    assert numbered(y, labels, str).tolist() == [2, 0, 1, 1]
    with pytest.raises(BadInput, match="^1: label .*, expected "):
        numbered(np.array([labels[0], type(labels[0])(5)]), labels, str)


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, 3], (0, 1, 2), "1: label 3, expected 0 to 2"),
        ([-1, 0], (0, 1, 2), "0: label -1, expected 0 to 2"),
        ([1, 2], (1, 3), "1: label 2, expected 1, 3"),
        (["cat", "cow"], ("cat", "dog"), "1: label 'cow', expected 'cat', 'dog'"),
        (["1"], (1, 2), "0: label '1', expected 1 to 2"),
        ([1], ("a", "b"), "0: label 1, expected 'a', 'b'"),
        (np.array([2**64 - 1], np.uint64), (0, 1), "0: label 18446744073709551615, expected 0 to 1"),
    ],
)
def test_a_label_that_is_none_is_refused_at_its_place(y, classes, message):
    with pytest.raises(BadInput, match=f"^{message}$"):
        numbered(np.array(y), classes, str)


def test_labels_are_listed_in_a_few_words():
    assert listed(range(10)) == "0 to 9" and listed((3, 4)) == "3 to 4" and listed((1, 3)) == "1, 3"
    assert listed(tuple(range(0, 200, 2))) == "0, 2, 4, 6, 8, 10, 12, 14, … (100 labels)"
    assert listed(("", "b")) == "'', 'b'"


def test_labels_are_plain_where_each_is_its_output():
    assert plain((0, 1, 2)) and not plain((1, 2)) and not plain(("0", "1"))


def test_names_are_different_words_or_different_whole_numbers():
    assert names_of((1, 5), 2) and names_of(("a", "b"), 2)
    for odd in ((1, 1), (1,), ("a", 1), (True, False), ([1], [2]), (1.0, 2.0), ()):
        assert not names_of(odd, 2)


@pytest.mark.parametrize("y", [[-1, 1, 1, -1], [1, 1], [-1, -1]])
def test_minus_one_and_one_alone_are_two_classes(y):
    assert whole(np.array(y), str).tolist() == y


@pytest.mark.parametrize("y", [[-1, 0, 1], [-1, 1, 2], [-2, 1], [-1, 1, 70000]])
def test_beside_others_a_label_below_zero_is_refused(y):
    with pytest.raises(BadInput, match="label -|label 70000"):
        whole(np.array(y), str)
