import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.data.synthetic import least_squares, target_matrix


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (9, 5)])
@pytest.mark.parametrize("rank", [None, 1, 4])
def test_a_flat_spectrum_has_rank_singular_values_of_1(shape, rank):
    W = target_matrix(1, outputs=shape[0], inputs=shape[1], rank=rank)
    expected = np.arange(min(shape)) < (rank or min(shape))
    # 1e-14: rounding of an orthonormal factorisation of this size
    np.testing.assert_allclose(np.linalg.svd(W, compute_uv=False), expected, atol=1e-14)


def test_a_gaussian_target_of_rank_k_is_the_best_approximation_of_the_full_one():
    full = target_matrix(2, inputs=9, outputs=6, spectrum="gaussian")
    sigma = np.linalg.svd(full, compute_uv=False)
    for k in range(1, 7):
        W = target_matrix(2, inputs=9, outputs=6, rank=k, spectrum="gaussian")
        # Eckart-Young; 1e-13: rounding of two decompositions
        np.testing.assert_allclose(np.sum((full - W) ** 2), np.sum(sigma[k:] ** 2), atol=1e-13)
        assert np.linalg.matrix_rank(W) == k


def test_gaussian_entries_have_variance_one_over_the_inputs():
    W = target_matrix(3, inputs=200, outputs=300, spectrum="gaussian")
    # 0.02: 3.5 standard errors of a variance over 60,000 entries, sqrt(2/60000) = 0.0058
    assert abs(W.var() * 200 - 1) < 0.02


def test_without_noise_the_target_matrix_is_the_answer():
    data = least_squares(4, inputs=6, outputs=3, samples=40, test_samples=5)
    W = target_matrix(4, inputs=6, outputs=3)
    assert np.array_equal(data.x_train @ W.T, data.y_train) and np.array_equal(data.x_test @ W.T, data.y_test)


def test_inputs_have_second_moment_identity():
    x = least_squares(5, inputs=6, samples=20000).x_train
    # 0.05: five standard errors of a mean of 20,000 products, the diagonal's being sqrt(2/20000) = 0.01
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(6), atol=0.05)


def test_the_loss_of_a_truncated_answer_is_the_floor_of_L6():
    data = least_squares(6, inputs=32, outputs=32, samples=20000, noise=0.5)
    W = target_matrix(6)
    U, sigma, Vt = np.linalg.svd(W)
    loss = np.mean(np.sum((data.y_train - data.x_train @ (U[:, :4] * sigma[:4] @ Vt[:4]).T) ** 2, axis=1))
    # 28 singular values of 1 are left, and 32 outputs with noise variance 0.25; 1 %: five standard errors
    np.testing.assert_allclose(loss, 28 + 32 * 0.25, rtol=0.01)


def test_the_noise_has_its_own_stream():
    quiet, loud = (least_squares(7, inputs=4, outputs=3, samples=5000, noise=noise) for noise in (0.0, 0.3))
    assert np.array_equal(quiet.x_train, loud.x_train)
    # 0.01: four standard errors of a deviation over 15,000 draws
    np.testing.assert_allclose((loud.y_train - quiet.y_train).std(), 0.3, atol=0.01)


def test_the_seed_decides_and_training_and_test_differ():
    a, b, c = (least_squares(seed, samples=10, test_samples=10) for seed in (0, 0, 1))
    assert a.x_train.tobytes() == b.x_train.tobytes() and a.y_test.tobytes() == b.y_test.tobytes()
    assert not np.array_equal(a.x_train, c.x_train) and not np.array_equal(a.x_train, a.x_test)


def test_training_and_test_have_noise_of_their_own_and_the_seed_decides_on_it():
    def noise(seed):
        clean, noisy = (least_squares(seed, samples=10, test_samples=10, noise=by) for by in (0.0, 1.0))
        return noisy.y_train - clean.y_train, noisy.y_test - clean.y_test

    (train, test), (other, _) = noise(0), noise(1)
    assert not np.allclose(train, test) and not np.allclose(train, other) and abs(train).max() > 0.1


def test_more_samples_extend_the_same_problem():
    short, long = least_squares(8, samples=10, noise=0.1), least_squares(8, samples=20, noise=0.1)
    assert np.array_equal(short.x_train, long.x_train[:10])


def test_it_is_a_regression_of_the_widths_asked():
    data = least_squares(inputs=5, outputs=7, samples=11, test_samples=3)
    assert (data.inputs, data.outputs, len(data.x_train), len(data.x_test)) == (5, 7, 11, 3)
    assert data.classes is None and data.name == "least-squares"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 0}, "inputs 0"),
        ({"outputs": -1}, "outputs -1"),
        ({"samples": 0}, "samples 0"),
        ({"test_samples": 0}, "test samples 0"),
        ({"rank": 0}, "target rank 0, expected 1 to 32"),
        ({"rank": 33}, "target rank 33"),
        ({"spectrum": "steep"}, "'steep', expected flat or gaussian"),
        ({"noise": -0.1}, "noise -0.1"),
        ({"noise": float("nan")}, "noise nan"),
        ({"noise": float("inf")}, "noise inf"),
        ({"samples": 10**9}, "bytes of samples, expected at most"),
        ({"inputs": 10**5, "outputs": 10**5}, "bytes of samples, expected at most"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(BadInput, match=f"least-squares: .*{message}"):
        least_squares(**options)


def test_a_target_matrix_too_large_is_refused():
    with pytest.raises(BadInput, match="a matrix 100000 x 100000"):
        target_matrix(inputs=10**5, outputs=10**5)
