"""Half the bytes: what arrives is what both sides remember."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minilte.core import tree
from minilte.core.errors import Diverged
from minilte.core.types import Adapter
from minilte.quant.wire import WIRES, decoded, encoded, from_brain, template, to_brain, to_half

ml_dtypes = pytest.importorskip("ml_dtypes", reason="the oracle for bfloat16 is in the extra [quant]")
floats = arrays(np.float32, st.integers(0, 20), elements=st.floats(-(2.0**100), 2.0**100, width=32))


def as_sent(wire, numbers):
    return decoded(wire, encoded(wire, numbers), numbers)


@given(floats)
def test_bfloat16_by_hand_is_bfloat16(x):
    expected = x.astype(ml_dtypes.bfloat16)
    assert np.array_equal(to_brain(x), expected.view(np.uint16))
    assert np.array_equal(from_brain(to_brain(x), np.dtype("f4")), expected.astype("f4"))


@given(arrays(np.uint32, 20))
def test_any_bits_are_a_number_where_they_were_one_and_no_number_where_they_were_none(bits):
    x = bits.view(np.float32)
    got = from_brain(to_brain(x), np.dtype("f4"))
    assert np.array_equal(np.isnan(got), np.isnan(x))
    assert np.array_equal(got[~np.isnan(x)], x.astype(ml_dtypes.bfloat16).astype("f4")[~np.isnan(x)])


@given(floats, st.sampled_from(list(WIRES)))
def test_what_was_sent_once_comes_through_unchanged(x, name):
    wire = WIRES[name]
    pair = Adapter(np.clip(x, -6e4, 6e4), np.clip(x, -6e4, 6e4)[::2])
    once = as_sent(wire, pair)
    for a, b in zip(tree.leaves(as_sent(wire, once)), tree.leaves(once)):
        assert np.array_equal(a, b) and a.dtype == x.dtype
    codes = encoded(wire, pair)
    for leaf, like in zip(tree.leaves(codes), tree.leaves(template(wire, pair))):
        assert (leaf.shape, leaf.dtype) == (like.shape, like.dtype)
    for a, b in zip(tree.leaves(decoded(wire, codes, pair)), tree.leaves(once)):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(("name", "error"), [("full", 0), ("float16", 2**-11), ("bfloat16", 2**-8)])
def test_the_error_is_half_a_unit_in_the_last_place(name, error):
    x = np.linspace(1, 2, 1001, dtype=np.float32)
    off = np.abs(as_sent(WIRES[name], x) - x).max()
    assert off <= error and off >= 0.4 * error


def test_float16_says_what_it_cannot_hold():
    with pytest.raises(Diverged, match="beyond float16"):
        to_half(np.float32([1.0, 7e4]))
