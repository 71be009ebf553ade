"""Measures of rank on matrices whose ranks are known."""

import numpy as np
import pytest

from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.measure.ranks import effective_rank, numerical_rank, stable_rank


def test_a_flat_spectrum_has_its_rank_by_every_measure():
    q, _ = np.linalg.qr(stream(0, "check").standard_normal((9, 4)))
    for measure in (numerical_rank, stable_rank, effective_rank):
        assert measure(q @ q.T) == pytest.approx(4, rel=1e-12)  # rounding of a QR and an SVD


def test_the_formulas_on_a_diagonal():
    sigma = np.array([3.0, 1.0])
    p = sigma / 4
    assert stable_rank(np.diag(sigma)) == pytest.approx(10 / 9)
    assert effective_rank(np.diag(sigma)) == pytest.approx(np.exp(-(p * np.log(p)).sum()))


def test_directions_below_the_tolerance_do_not_count():
    assert numerical_rank(np.diag([1.0, 1e-9, 1e-12])) == 2 and numerical_rank(np.diag([1.0, 1e-9]), 1e-8) == 1


@pytest.mark.parametrize("measure", [numerical_rank, stable_rank, effective_rank])
def test_a_zero_matrix_has_no_measure(measure):
    with pytest.raises(BadInput, match="not zero"):
        measure(np.zeros((2, 3)))
