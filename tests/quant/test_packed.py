"""A packed matrix multiplies as the floats it stands for, and is never unfolded as a whole."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilte.core import layers, tree
from minilte.core.random import stream
from minilte.core.types import Adapter
from minilte.quant.codes import LEVELS, SCALES, Quantizer, fake
from minilte.quant.packed import column_blocks, empty, pack, regular, row_blocks, unpacked

sizes = st.integers(1, 40)
quantizers = st.builds(
    Quantizer, st.sampled_from(list(LEVELS)), st.sampled_from(SCALES), st.sampled_from([2, 16, 64])
)


def matrix(seed, m, n, dtype="float64"):
    return stream(seed, "check").standard_normal((m, n)).astype(dtype)


@given(st.integers(0, 2**32), sizes, sizes, quantizers, st.sampled_from(["float32", "float64"]))
def test_packing_loses_nothing_of_the_codes(seed, m, n, quantizer, dtype):
    W = matrix(seed, m, n, dtype)
    made = pack(W, quantizer)
    assert np.array_equal(unpacked(made), fake(W, quantizer)) and made.shape == W.shape and made.dtype == W.dtype
    blank = empty(quantizer, W.shape, W.dtype)
    assert [leaf.shape for leaf in tree.leaves(blank)] == [leaf.shape for leaf in tree.leaves(made)]
    assert np.array_equal(blank.levels, made.levels) and np.array_equal(blank.layout, made.layout)


@given(st.integers(0, 2**32), sizes, sizes, quantizers, st.integers(1, 400))
def test_blocks_of_any_size_cover_the_matrix_once(seed, m, n, quantizer, chunk):
    W = pack(matrix(seed, m, n), quantizer)
    assert np.array_equal(np.concatenate([block.copy() for _, block in row_blocks(W, chunk)]), unpacked(W))
    if regular(W):
        assert np.array_equal(
            np.concatenate([block.copy() for _, block in column_blocks(W, chunk)], axis=1), unpacked(W)
        )


@given(st.integers(0, 2**32), sizes, sizes, quantizers, st.sampled_from([(), (3,), (2, 3)]))
def test_products_are_those_of_the_floats(seed, m, n, quantizer, lead):
    W, draw = matrix(seed, m, n), stream(seed, "noise").standard_normal
    made, dense = pack(W, quantizer), fake(W, quantizer)
    x, dy = draw((*lead, 2, n)), draw((*lead, 2, m))
    np.testing.assert_allclose(x @ made.T, x @ dense.T, atol=1e-12)  # rounding of sums of 40 products
    np.testing.assert_allclose(dy @ made, dy @ dense, atol=1e-12)


@given(st.integers(0, 2**32), sizes, sizes, quantizers)
def test_a_layer_does_not_know_that_its_matrix_is_packed(seed, m, n, quantizer):
    draw = stream(seed, "noise").standard_normal
    made, dense = pack(matrix(seed, m, n), quantizer), fake(matrix(seed, m, n), quantizer)
    now, then = (Adapter(draw((2, n)), draw((m, 2))) for _ in range(2))
    x, dy = draw((3, n)), draw((3, m))
    outs = []
    for W in (made, dense):
        y, cache = layers.lora(x, W, draw(m) * 0, 0.5, now, then)
        dx, _, dc, _, grad, _ = layers.lora_back(dy, cache)
        outs.append([y, dx, dc, *grad])
    for a, b in zip(*outs):
        np.testing.assert_allclose(a, b, atol=1e-11)  # rounding


def test_two_codes_share_a_byte_the_first_in_the_low_half():
    made = pack(np.array([[7.0, -7.0, 1.0]]), Quantizer("int4", "row"))
    assert made.codes.tolist() == [14 | 0 << 4, 8] and made.absmax.tolist() == [7.0]


@pytest.mark.parametrize("code", LEVELS)
@pytest.mark.parametrize("n", [2048, 2000])
def test_a_product_decodes_a_part_at_a_time(code, n):
    m = 2048
    made, x = pack(matrix(0, m, n, "float32"), Quantizer(code)), np.ones((1, n), "float32")
    dy = np.ones((1, m), "float32")
    tracemalloc.start()
    try:
        x @ made.T
        dy @ made
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.2 * m * n * 4  # an eighth decoded, and the indices of a stretch
