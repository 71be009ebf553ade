"""Trees keep their structure, their order and their numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import tree
from minilte.core.types import Adapter, Linear

arrays = st.lists(st.integers(0, 3), max_size=3).map(
    lambda shape: np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
)
trees = st.recursive(
    arrays | st.none(),
    lambda sub: (
        st.lists(sub, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abc"), sub, max_size=3)
        | st.builds(Adapter, sub, sub)
    ),
    max_leaves=8,
)


def same(a, b):
    return [(p, x.shape, x.tobytes()) for p, x in tree.named(a)] == [
        (p, x.shape, x.tobytes()) for p, x in tree.named(b)
    ]


@given(trees)
def test_mapping_the_identity_changes_nothing_and_keeps_types(one):
    mapped = tree.map(lambda leaf: leaf, one)
    assert same(mapped, one) and type(mapped) is type(one)


@given(trees)
def test_a_blank_tree_has_the_same_shapes(one):
    assert same(tree.map(np.zeros_like, one), tree.blank(one)) and same(tree.zeros(one), tree.blank(one))


@given(trees)
def test_counts_agree_with_the_leaves_also_of_a_template(one):
    for each in (one, tree.blank(one)):
        assert tree.size(each) == sum(leaf.size for leaf in tree.leaves(one)) == tree.nbytes(one) // 8
    assert tree.nbytes(tree.blank(one)) == sum(leaf.nbytes for leaf in tree.leaves(one))


def test_a_blank_tree_keeps_dtypes_and_takes_no_memory():
    leaf = tree.blank({"x": np.ones((100, 100), np.float32)})["x"]
    assert leaf.dtype == np.float32 and leaf.strides == (0, 0)
    zero = tree.zeros({"x": np.ones((2, 3), np.float32)})["x"]
    assert zero.dtype == np.float32 and zero.flags.writeable and zero.strides != (0, 0)  # these are to be written to


def test_trees_of_different_length_are_not_mapped_together():
    with pytest.raises(ValueError):
        tree.map(lambda a, b: a, (1.0, 2.0), (1.0,))


def test_names_are_paths():
    one = {"layer1": Linear(np.ones((2, 2)), None), "pair": (np.zeros(1), Adapter(np.zeros(2), np.zeros(3)))}
    assert [path for path, _ in tree.named(one)] == ["layer1.W", "pair.0", "pair.1.A", "pair.1.B"]


def test_map_takes_the_same_places_of_every_tree():
    a, b = {"x": (1.0, None)}, {"x": (2.0, 5.0)}
    assert tree.map(lambda p, q: p + q, a, b) == {"x": (3.0, None)}
