"""Least squares with a known answer: the problem that shows the rank bounds (claim C1).

    y = x W*^T + noise * e,   x ~ N(0, I),  e ~ N(0, I)

Because E x x^T = I, the loss of any W with no bias is E|y - x W^T|^2 = |W* - W|_F^2 + m noise^2. So a LoRA
of rank r on W_0 = 0 stays at or above sum_{i>r} sigma_i(W*)^2 + m noise^2 (law L6, Eckart-Young): with a flat
spectrum, full rank and no noise at 1 - r / min(m, n) of the loss at the start.
"""

from dataclasses import asdict

import numpy as np

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.core.types import Array
from minilte.data.dataset import Dataset, validated
from minilte.disk.files import LIMIT
from minilte.settings.knob import MOST, knob
from minilte.settings.part import part

SPECTRA = ("flat", "gaussian")


@part("data", "least-squares")
class LeastSquares:
    """y = x W*^T + noise, with a known W*."""

    inputs: int = knob(32, "inputs n", least=1, most=100_000)
    outputs: int = knob(32, "outputs m", least=1, most=100_000)
    samples: int = knob(4096, "training samples", least=1, most=100_000_000)
    spectrum: str = knob("flat", "singular values of the target", choices=SPECTRA)
    target_rank: int = knob(0, "rank of the target; 0 for full", least=0, most=MOST)
    noise: float = knob(0.0, "deviation of the noise", least=0.0)

    named = True
    drawn = True

    def load(self, seed: int) -> Dataset:
        """The dataset, as drawn, in float64: standardised inputs would not have E x x^T = I (law L6). Raises BadInput."""
        options = asdict(self)
        rank = options.pop("target_rank") or None
        return least_squares(seed, rank=rank, **options)


def least_squares(
    seed: int = 0,
    *,
    inputs: int = 32,
    outputs: int = 32,
    samples: int = 4096,
    test_samples: int = 1024,
    rank: int | None = None,
    spectrum: str = "flat",
    noise: float = 0.0,
) -> Dataset:
    """Samples of y = x W*^T + noise * e in float64, with W* = `target_matrix` of the same seed.

    Raises BadInput for a size below 1, more than 2 GiB of numbers, or a noise that is negative or not finite.
    """
    _expect(min(samples, test_samples) >= 1, f"samples {samples}, test samples {test_samples}", "1 or more")
    _expect(0 <= noise < np.inf, f"noise {noise}", "a finite deviation, at least 0")
    size = 8 * (samples + test_samples) * (inputs + outputs)
    _expect(size <= LIMIT, f"{size} bytes of samples", f"at most {LIMIT}: fewer samples or a smaller width")
    W = target_matrix(seed, inputs=inputs, outputs=outputs, rank=rank, spectrum=spectrum)
    train, test = (_draw(W, noise, rows, seed, key) for key, rows in ((1, samples), (2, test_samples)))
    return validated(Dataset(*train, *test, None, "least-squares"), "least-squares")


def target_matrix(
    seed: int = 0, *, inputs: int = 32, outputs: int = 32, rank: int | None = None, spectrum: str = "flat"
) -> Array:
    """W*, the answer, of rank k = `rank` or min(m, n).

        flat      U V^T with orthonormal columns U (m,k), V (n,k): every singular value is 1
        gaussian  entries N(0, 1/n); below full rank, its best approximation of rank k

    Raises BadInput for a size below 1, a rank outside 1 to min(m, n), an unknown spectrum.
    """
    _expect(inputs >= 1 and outputs >= 1, f"inputs {inputs}, outputs {outputs}", "1 or more")
    _expect(8 * inputs * outputs <= LIMIT, f"a matrix {outputs} x {inputs}", f"at most {LIMIT} bytes")
    full = min(inputs, outputs)
    k = full if rank is None else rank
    _expect(1 <= k <= full, f"target rank {k}", f"1 to {full}")
    _expect(spectrum in SPECTRA, f"spectrum {spectrum!r}", " or ".join(SPECTRA))
    draw = stream(seed, "synthetic")
    if spectrum == "flat":
        return _orthonormal(draw, outputs, k) @ _orthonormal(draw, inputs, k).T
    W = draw.standard_normal((outputs, inputs)) / np.sqrt(inputs)
    if k == full:
        return W
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    return U[:, :k] * sigma[:k] @ Vt[:k]


def _orthonormal(draw: np.random.Generator, rows: int, columns: int) -> Array:
    """Orthonormal columns (rows, columns), uniform over all such: R's signs go into Q (Mezzadri 2007)."""
    Q, R = np.linalg.qr(draw.standard_normal((rows, columns)))
    return Q * np.where(np.diag(R) < 0, -1, 1)


def _draw(W: Array, noise: float, rows: int, seed: int, key: int) -> tuple[Array, Array]:
    """x (rows, n) and y (rows, m); `key` keeps the streams of training and test apart."""
    x = stream(seed, "synthetic", key).standard_normal((rows, W.shape[1]))
    return x, x @ W.T + noise * stream(seed, "noise", key).standard_normal((rows, len(W)))


def _expect(good: bool, got: str, expected: str) -> None:
    if not good:
        raise BadInput(f"least-squares: {got}, expected {expected}")
