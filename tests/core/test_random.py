"""Streams differ wherever their keys do, and only there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.random import PURPOSES, stream

keys = st.tuples(st.integers(0, 2**63 - 1), st.sampled_from(PURPOSES), st.integers(0, 2**31), st.integers(0, 2**31))


@given(keys, keys)
def test_streams_are_equal_exactly_where_their_keys_are(a, b):
    same = np.array_equal(stream(*a).integers(0, 2**63, 4), stream(*b).integers(0, 2**63, 4))
    assert same == (a == b)


def test_a_trailing_zero_is_not_lost():
    assert stream(5, "weights", 7, 0).random() != stream(5, "weights", 0, 7).random() != stream(5, "weights").random()


def test_an_unknown_purpose_is_refused():
    with pytest.raises(ValueError):
        stream(0, "luck")


def test_head_and_step_are_zero_unless_given():
    assert stream(7, "batch").random() == stream(7, "batch", 0).random() == stream(7, "batch", 0, 0).random()
