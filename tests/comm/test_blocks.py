"""Blocks are those of array_split."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minilte.comm.blocks import block


@given(st.integers(0, 50), st.integers(1, 9))
def test_blocks_are_those_of_array_split(total, parts):
    got = [list(block(total, parts, i)) for i in range(parts)]
    assert got == [list(expected) for expected in np.array_split(np.arange(total), parts)]
    assert len(got[0]) == max(map(len, got))  # process 0 always has a head
