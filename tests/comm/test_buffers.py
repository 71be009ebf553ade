"""Trees as runs of bytes, back again, and counted by kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.buffers import as_bytes, cat, filled, kinds, leaf_dtype, leaves_as, payload, spans
from minilte.core import tree
from minilte.core.types import Adapter

dtypes = st.sampled_from(["float32", "float64", "float16", "uint8"])
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def trees(draw, dtype=dtypes):
    """Kinds at the top, and under each an array, a pair, a dict or nothing."""
    count = iter(range(1000))

    def leaf():
        shape = draw(shapes)
        return (np.arange(np.prod(shape, dtype=int)) + next(count)).reshape(shape).astype(draw(dtype))

    def part():
        return draw(
            st.sampled_from([leaf, lambda: Adapter(leaf(), leaf()), lambda: {"x": leaf(), "y": None}, dict])
        )()

    return {name: part() for name in draw(st.lists(st.sampled_from("abc"), unique=True))}


@given(trees())
def test_a_tree_comes_back_from_its_bytes(one):
    flat = cat(tree.leaves(one))
    assert flat.dtype == np.uint8 and flat.size == tree.nbytes(one)
    back = filled(flat, tree.blank(one))
    assert [path for path, _ in tree.named(back)] == [path for path, _ in tree.named(one)]
    for a, b in zip(tree.leaves(back), tree.leaves(one), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        assert a.size == 0 or np.shares_memory(a, flat)


def test_bytes_of_an_array_are_in_row_major_order_and_a_view_where_they_can_be():
    square = np.arange(6.0).reshape(2, 3)
    assert np.shares_memory(as_bytes(square), square)
    assert as_bytes(np.asfortranarray(square)).tobytes() == as_bytes(square).tobytes() == square.tobytes()


@given(trees())
def test_kinds_are_what_stands_at_the_top_and_their_bytes_those_of_the_leaves(one):
    expected = {name: sum(leaf.nbytes for leaf in tree.leaves(part)) for name, part in one.items()}
    assert kinds(one) == kinds(tree.blank(one)) == expected
    assert payload(expected | {"headers": 77}) == tree.nbytes(one)


@given(trees(st.just("float64")))
def test_spans_say_where_the_numbers_of_a_kind_lie(one):
    flat, found = cat(tree.leaves(one)).view(np.float64), spans(one)
    assert list(found) == list(one)
    for name, span in found.items():
        own = [leaf.reshape(-1) for leaf in tree.leaves(one[name])]
        assert flat[span.start : span.stop].tolist() == [number for leaf in own for number in leaf]
    covered = [place for span in found.values() for place in span]
    assert covered == list(range(flat.size))


def test_spans_of_a_named_tuple_are_those_of_its_fields():
    assert spans(Adapter(np.ones((2, 3)), np.ones((4, 2)))) == {"A": range(0, 6), "B": range(6, 14)}
    assert kinds(Adapter(np.ones((2, 3), "f4"), None)) == {"A": 24, "B": 0}


def test_a_sum_has_one_dtype():
    assert leaf_dtype({"a": np.ones(1, "f4"), "b": (np.ones(0, "f4"), None)}) == np.float32
    assert leaf_dtype({"a": {}}) == np.float32
    with pytest.raises(AssertionError, match="one dtype, got"):
        leaf_dtype({"a": np.ones(1, "f4"), "b": np.ones(1, "f8")})


@given(trees())
def test_leaves_come_in_the_order_of_the_template(one):
    turned = dict(reversed(one.items()))
    for a, b in zip(leaves_as(tree.blank(one), turned), tree.leaves(one), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"a": np.ones((2, 3), "f8")}, r"float64\(2, 3\) as a where its template has float32\(2, 3\)"),
        ({"a": np.ones((3, 2), "f4")}, r"float32\(3, 2\) as a where"),
        ({"c": np.ones(1)}, "3 arrays, its template 2; not in both: c$"),
    ],
)
def test_what_does_not_fit_its_template_is_refused(change, words):
    like = {"a": np.ones((2, 3), "f4"), "b": np.ones(1, "f4")}
    with pytest.raises(ValueError, match=words):
        leaves_as(like, like | change)
