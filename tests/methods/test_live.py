"""Rows of an adapter that live: cut, padded and grown, in what the pair stands for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minilte.core.lora import product
from minilte.core.types import Adapter
from minilte.methods.live import cut, grown, padded, rows


@given(st.integers(0, 4), st.integers(0, 4))
def test_rows_are_cut_padded_and_grown(k, start):
    pair = Adapter(np.arange(1.0, 13).reshape(4, 3), -np.arange(1.0, 21).reshape(5, 4))
    fresh = Adapter(100 + pair.A, 100 + pair.B)
    live = rows(pair, k)
    assert live.A.shape == (k, 3) and live.B.shape == (5, k)
    assert np.array_equal(product(cut(pair, k)), product(live))
    assert all(np.array_equal(a, b) for a, b in zip(padded(live, pair), cut(pair, k)))
    more = grown(cut(pair, start), fresh, start, k)
    assert np.array_equal(more.A[:start], pair.A[:start]) and np.array_equal(more.B, cut(pair, start).B)
    assert np.array_equal(more.A[start:k], fresh.A[start:k]) and not more.A[max(k, start) :].any()
    assert pair.A[0, 0] == 1 and pair.B[0, 0] == -1  # nothing is changed in place
