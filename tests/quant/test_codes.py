"""The laws of quantization, with their boundaries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from minilte.core.errors import Diverged
from minilte.core.random import stream
from minilte.quant import codes
from minilte.quant.codes import LEVELS, NF4, Quantizer, absmax, block_size, encode, fake

HALF_GAP = {"nf4": 0.1519, "int4": 1 / 14, "int8": 1 / 254}  # half the widest gap between two levels
sizes = st.integers(1, 40)
quantizers = st.builds(
    Quantizer,
    st.sampled_from(list(LEVELS)),
    st.sampled_from(codes.SCALES),
    st.sampled_from([2, 16, 64]),
    st.just("nearest"),
)


@st.composite
def matrices(draw, dtype=None):
    """Matrices of many sizes and magnitudes; some rows are zero."""
    m, n, seed = draw(sizes), draw(sizes), draw(st.integers(0, 2**32))
    rng = stream(seed, "check")
    W = rng.standard_normal((m, n)) * 10.0 ** draw(st.integers(-6, 6))
    W[rng.random(m) < 0.2] = 0
    return W.astype(dtype or draw(st.sampled_from(["float32", "float64"])))


@given(matrices(), quantizers)
def test_quantizing_twice_is_quantizing_once_exactly(W, quantizer):
    once = fake(W, quantizer)
    assert once.dtype == W.dtype and np.array_equal(fake(once, quantizer), once)


@given(matrices(), quantizers)
def test_no_number_moves_by_more_than_half_the_widest_gap(W, quantizer):
    largest = np.repeat(absmax(W.ravel(), size := block_size(quantizer, *W.shape)), size)[: W.size].reshape(W.shape)
    # four units in the last place: a division, a product, and the gap given to four digits
    bound = HALF_GAP[quantizer.code] * largest * (1 + 4 * np.finfo(W.dtype).eps) + 4 * np.finfo(W.dtype).eps * largest
    assert (np.abs(W - fake(W, quantizer)) <= bound).all()


@pytest.mark.parametrize("code", LEVELS)
def test_the_bound_is_reached(code):
    levels = LEVELS[code].astype(float)
    i = int(np.argmax(np.diff(levels)))
    W = np.array([[1.0, (levels[i] + levels[i + 1]) / 2]])
    assert abs(W - fake(W, Quantizer(code)))[0, 1] == pytest.approx(HALF_GAP[code], rel=1e-3)


@given(matrices(), quantizers, st.integers(-20, 20))
def test_a_power_of_two_comes_through_bit_by_bit(W, quantizer, k):
    c = W.dtype.type(2.0**k)
    assert np.array_equal(fake(c * W, quantizer), c * fake(W, quantizer))


@given(matrices("float64"), quantizers, st.floats(0.1, 10))
def test_any_factor_comes_through_up_to_rounding_but_for_ties(W, quantizer, c):
    a, b = fake(c * W, quantizer), c * fake(W, quantizer)
    largest = np.abs(W).max()
    # a number near the middle of two levels may fall on the other side: by a whole gap, and rarely
    off = np.abs(a - b) > 1e-12 * c * largest
    assert off.mean() <= 0.05 and (np.abs(a - b) <= 2.01 * HALF_GAP[quantizer.code] * c * largest).all()


@given(matrices(), quantizers)
def test_zeros_stay_zero(W, quantizer):
    assert not fake(np.zeros_like(W), quantizer).any()
    assert not fake(W, quantizer)[W == 0].any()


@given(matrices(), quantizers)
def test_uniform_codes_are_odd(W, quantizer):
    if quantizer.code != "nf4":
        assert np.array_equal(fake(-W, quantizer), -fake(W, quantizer))


def test_nf4_is_not_odd():
    W = np.array([[1.0, 0.4]])
    assert not np.allclose(fake(-W, Quantizer("nf4")), -fake(W, Quantizer("nf4")))


@pytest.mark.parametrize("code", LEVELS)
def test_a_change_is_not_quantized_alike_before_and_after(code):
    draw = stream(0, "check").standard_normal
    W, D = draw((8, 8)), 0.05 * draw((8, 8))
    q = Quantizer(code)
    assert not np.array_equal(fake(W + D, q), fake(fake(W, q) + D, q))


def test_the_levels_of_nf4_are_the_quantiles_they_are_derived_from():
    off = ((1 - 1 / 30) + (1 - 1 / 32)) / 2
    upper, lower = norm.ppf(np.linspace(off, 0.5, 9)[:8]), -norm.ppf(np.linspace(off, 0.5, 8)[:7])
    derived = np.sort(np.concatenate([upper, [0], lower]))
    np.testing.assert_allclose(NF4, derived / derived.max(), atol=2e-7)  # the published ones were rounded on the way


def test_ties_go_to_the_lower_level_of_nf4_and_to_the_even_code_of_integers():
    middle = (NF4[3].astype(float) + NF4[4].astype(float)) / 2
    assert encode(np.array([[1.0, middle]]), Quantizer("nf4"))[0][1] == 3
    W = np.array([[7.0, 0.5, 1.5, -0.5, -2.5]])
    assert encode(W, Quantizer("int4", "row"))[0].tolist() == [14, 7, 9, 7, 5]


@pytest.mark.parametrize(("code", "bits"), [("int4", 4.5), ("nf4", 4.5), ("int8", 8.5)])
def test_scales_of_64_numbers_cost_half_a_bit(code, bits):
    from minilte.quant.packed import pack

    made = pack(np.ones((64, 128), "float32"), Quantizer(code))
    assert 8 * (made.codes.nbytes + made.absmax.nbytes) / 64 / 128 == bits


@given(matrices(), st.sampled_from(list(LEVELS)), st.integers(0, 2**32))
def test_stochastic_rounding_takes_a_neighbour_and_leaves_what_is_on_a_level(W, code, seed):
    q, draw = Quantizer(code, "row", rounding="stochastic"), stream(seed, "rounding").random
    once = fake(W, q, draw)
    assert np.array_equal(fake(once, q, draw), once)
    largest = np.abs(W).max(axis=1, keepdims=True)
    assert (np.abs(W - once) <= 2.01 * HALF_GAP[code] * largest + 1e-30).all()


@given(matrices(), st.sampled_from(list(LEVELS)), st.sampled_from([0.0, 1 - 2**-24]))
def test_what_is_on_a_level_stays_there_though_the_least_or_the_largest_is_drawn(W, code, chance):
    q = Quantizer(code, "row")
    once = fake(W, q)
    assert np.array_equal(fake(once, q._replace(rounding="stochastic"), lambda shape: np.full(shape, chance)), once)


@pytest.mark.parametrize("code", LEVELS)
def test_stochastic_rounding_is_right_in_the_mean(code):
    draw, W = stream(0, "rounding").random, stream(0, "check").uniform(-1, 1, (4, 8))
    many = [fake(W, Quantizer(code, "tensor", rounding="stochastic"), draw) for _ in range(4000)]
    error = np.std(many, axis=0) / np.sqrt(4000)
    assert (np.abs(np.mean(many, axis=0) - W) <= 5 * error + 1e-12).all()  # five standard errors of 32 numbers
    assert not np.allclose(fake(W, Quantizer(code, "tensor")), W, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_have_no_codes(bad):
    with pytest.raises(Diverged, match="no longer finite"):
        fake(np.array([[1.0, bad]]), Quantizer())
