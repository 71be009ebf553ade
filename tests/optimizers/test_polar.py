"""The polar factor, exact and by the quintic, against the singular value decomposition and what defines it."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minilte.core.random import stream
from minilte.laws.oracle import gradients
from minilte.optimizers.polar import POLAR, exact, quintic, response

pytestmark = pytest.mark.filterwarnings("error")
EPS = np.finfo(np.float64).eps
BOUND = 0.68, 1.21  # of `response` for s of at least 0.002
POWERS = {np.float64: 150, np.float32: 30}  # of ten: sizes whose squares leave the dtype
DTYPES = list(POWERS)
seeds, sides, dtypes = st.integers(0, 2**32), st.integers(1, 8), st.sampled_from(DTYPES)


def orthonormal(seed, m, k):
    """m x k with orthonormal columns."""
    return np.linalg.qr(stream(seed, "check", m, k).standard_normal((m, k)))[0]


def composed(seed, m, n, sizes):
    """(U S V^T, U V^T) of these singular values."""
    U, V = orthonormal(seed, m, len(sizes)), orthonormal(seed + 1, n, len(sizes))
    return (U * sizes) @ V.T, U @ V.T


def by_svd(X, least=1e-3):
    """U, S, V^T in float64 without the directions below `least` of the largest."""
    U, S, Vt = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    there = S > least * S[0]
    return U[:, there], S[there], Vt[there]


@st.composite
def matrices(draw, rank=None):
    """Of any shape, of any rank or of `rank(m, n)`, and a condition number of at most 100."""
    m, n, seed = draw(sides), draw(sides), draw(seeds)
    k = draw(st.integers(1, min(m, n))) if rank is None else rank(m, n)
    sizes = 10.0 ** np.array(draw(st.lists(st.floats(-2, 0), min_size=k, max_size=k)))
    return composed(seed, m, n, sizes)[0]


# ---------------------------------------------------------------------------------- exact


@given(matrices(rank=min), dtypes)
def test_the_columns_of_the_exact_factor_are_orthonormal_or_its_rows_where_it_is_wide(X, dtype):
    P = exact(X.astype(dtype)).astype(np.float64)
    tall = P if P.shape[0] >= P.shape[1] else P.T
    # rounding of the products, and for float32 of the result
    assert abs(tall.T @ tall - np.eye(tall.shape[1])).max() < 30 * np.finfo(dtype).eps


@given(sides, sides, seeds, st.floats(0, 6.9))
def test_it_is_that_of_the_svd_up_to_the_square_of_the_condition_number(m, n, seed, digits):
    k = min(m, n)
    sizes = np.geomspace(1, 10.0 ** -(digits * (k > 1)), k)
    X, _ = composed(seed, m, n, sizes)
    U, _, Vt = by_svd(X, 0)
    # a Gram matrix is known to eps |X|^2, so its eigenvectors turn by eps k^2; 100 for what is well-conditioned
    assert np.linalg.norm(exact(X) - U @ Vt, 2) < (100 + (sizes[0] / sizes[-1]) ** 2) * EPS
    P = exact(X)
    tall = P if m >= n else P.T
    assert abs(tall.T @ tall - np.eye(k)).max() < 30 * EPS  # at any condition number


@given(matrices(), dtypes)
def test_directions_that_are_missing_stay_away(X, dtype):
    X = X.astype(dtype)
    U, _, Vt = by_svd(X)
    np.testing.assert_allclose(
        exact(X), U @ Vt, atol=1e-11 if dtype is np.float64 else 2e-5
    )  # eps k^2; eps of float32


@given(seeds, st.integers(2, 40), st.integers(2, 40), st.data())
def test_rounding_of_a_product_is_no_direction(seed, m, n, data):
    k, draw = data.draw(st.integers(1, min(m, n) - 1)), stream(seed, "check").standard_normal
    X = draw((m, k)).astype(np.float32) @ draw((k, n)).astype(np.float32)
    assume(np.linalg.svd(X, compute_uv=False)[k - 1] > 1e-3)
    assert np.sum(exact(X) ** 2) == pytest.approx(k, rel=1e-5)  # as many as there are, each of length 1


def test_a_direction_below_what_the_dtype_knows_is_missing():
    for dtype, there, gone in ((np.float64, 2e-7, 5e-8), (np.float32, 2e-6, 5e-7)):
        for size, expected in ((there, 1.0), (gone, 0.0)):
            got = exact(np.diag([3.0, 3.0 * size]).astype(dtype))
            np.testing.assert_allclose(got, np.diag([1.0, expected]), atol=1e-6)
            assert got.dtype == dtype


def test_nearly_parallel_columns_come_out_at_right_angles():
    for angle in (1e-2, 1e-4, 1e-6):
        X = np.array([[1.0, 1.0], [0.0, angle], [0.0, 0.0]])
        # halfway between the columns and across: both turn by 45 degrees away from the middle
        expected = np.array([[1.0, 1.0], [-1.0, 1.0], [0.0, 0.0]]) / np.sqrt(2)
        np.testing.assert_allclose(exact(X), expected, atol=angle + 4 * EPS / angle**2)


# ---------------------------------------------------------------------------------- both


@pytest.mark.parametrize("name", POLAR)
@given(X=matrices(), dtype=dtypes, power=st.floats(-1, 1), sign=st.sampled_from([1, -1]))
def test_the_size_of_a_matrix_does_not_matter_but_its_sign(name, X, dtype, power, sign):
    polar, c = POLAR[name], dtype(sign * 10.0 ** (power * POWERS[dtype]))
    X = X.astype(dtype)
    got = polar(c * X)
    assert got.dtype == dtype and got.shape == X.shape
    # entries that c rounds to another float; the quintic multiplies a small direction by up to 485
    np.testing.assert_allclose(got, sign * polar(X), atol=3e4 * np.finfo(dtype).eps)
    assert np.array_equal(polar(2 * X), polar(X)) and np.array_equal(polar(X / 1024), polar(X))


@pytest.mark.parametrize("name", POLAR)
@given(X=matrices(), seed=seeds)
def test_it_turns_with_its_rows_and_columns(name, X, seed):
    polar, (m, n) = POLAR[name], X.shape
    Q, R = orthonormal(seed, m, m), orthonormal(seed + 1, n, n)
    np.testing.assert_allclose(polar(Q @ X @ R), Q @ polar(X) @ R, atol=1e-11)  # eps k^2; 485 eps


@pytest.mark.parametrize("name", POLAR)
@given(X=matrices(), dtype=dtypes)
def test_wide_is_tall_turned(name, X, dtype):
    X = X.astype(dtype)
    # the singular values alone decide, not which side is the longer; for squares it is another Gram matrix
    np.testing.assert_allclose(POLAR[name](X.T), POLAR[name](X).T, atol=3e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 3), (4, 3), (3, 4)])
@pytest.mark.parametrize("name", POLAR)
def test_zero_stays_zero(name, shape, dtype):
    got = POLAR[name](np.zeros(shape, dtype))
    assert got.shape == shape and got.dtype == dtype and not got.any()


@given(seeds, st.integers(1, 9), dtypes)
def test_of_a_single_column_it_is_the_column_at_length_one(seed, m, dtype):
    x = stream(seed, "check").standard_normal((m, 1)).astype(dtype)
    unit = x / np.sqrt(np.sum(x * x))
    for column, row in ((unit, x), (unit.T, x.T)):
        np.testing.assert_allclose(exact(row), column, atol=8 * np.finfo(dtype).eps)
        np.testing.assert_allclose(quintic(row), response(1.0) * column, atol=99 * np.finfo(dtype).eps)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", POLAR)
def test_what_is_not_finite_makes_all_of_it_NaN(name, bad):
    for shape in ((2, 3), (3, 2)):
        X = np.ones(shape, np.float32)
        X[0, 1] = bad
        with np.errstate(invalid="ignore"):
            assert np.isnan(POLAR[name](X)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (4, 1), (70, 30), (30, 70)])
@pytest.mark.parametrize("name", POLAR)
def test_what_is_passed_in_stays_and_how_it_lies_in_memory_changes_no_bit(name, shape, dtype):
    X = stream(0, "check").standard_normal(shape).astype(dtype)
    before = X.copy()
    got = POLAR[name](X)
    assert np.array_equal(X, before) and not np.shares_memory(got, X)
    X.setflags(write=False)
    for same in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
        assert np.array_equal(POLAR[name](same), got)


# ---------------------------------------------------------------------------------- the quintic


def test_the_polynomial_is_that_of_the_source():
    s = 0.3
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    assert response(0.3) == pytest.approx(s, rel=1e-14)
    np.testing.assert_allclose(quintic(np.diag([0.3, np.sqrt(1 - 0.3**2)]))[0], [s, 0], atol=1e-14)


def test_the_response_lies_in_its_stated_bound():
    s = np.geomspace(0.002, 1, 400_001)
    assert BOUND[0] < response(s).min() and response(s).max() < BOUND[1]
    assert response(s).min() < BOUND[0] + 0.01 and response(s).max() > BOUND[1] - 0.01  # no looser than it need be
    few = np.geomspace(1e-12, 0.002, 1001)
    assert (response(few) > 0).all() and (response(few) < 0.9).all() and (np.diff(response(few)) > 0).all()
    assert response(0.0) == 0


@given(matrices(), dtypes)
def test_it_has_the_same_directions_and_the_response_as_its_singular_values(X, dtype):
    X = X.astype(dtype)
    U, S, Vt = by_svd(X)
    expected = (U * response(S / np.sqrt(np.sum(S**2)))) @ Vt
    np.testing.assert_allclose(quintic(X), expected, atol=1e3 * np.finfo(dtype).eps)  # 485 from rounding of X


@given(matrices())
def test_the_two_are_pinned_to_each_other_by_the_bound(X):
    U, S, Vt = by_svd(X)
    assume(S[-1] >= 0.002 * np.sqrt(np.sum(S**2)))
    shared = U.T @ quintic(X) @ Vt.T
    assert np.linalg.norm(quintic(X) - exact(X), 2) < max(1 - BOUND[0], BOUND[1] - 1) + 1e-10
    assert ((BOUND[0] < np.diag(shared)) & (np.diag(shared) < BOUND[1])).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_a_gradient_that_a_network_gives(dtype):
    draw = stream(1, "check").standard_normal
    layers = [(draw((64, 100)) / 10, draw(64)), (draw((5, 64)) / 8, draw(5))]
    G = gradients(layers, "relu", draw((16, 100)), stream(2, "check").integers(0, 5, 16))[1][0][0].astype(dtype)
    U, S, Vt = by_svd(G, 1e-6)
    assert len(S) == 16 and G.shape == (64, 100)  # of rank 16: a sample a direction
    np.testing.assert_allclose(exact(G), U @ Vt, atol=3e-4 if dtype is np.float32 else 1e-9)
    np.testing.assert_allclose(quintic(G), (U * response(S / np.linalg.norm(S))) @ Vt, atol=1e3 * np.finfo(dtype).eps)
