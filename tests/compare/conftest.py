"""Small data that many tests climb on."""

import numpy as np
import pytest

from minilte.core.random import stream
from minilte.data.dataset import Dataset


@pytest.fixture(scope="session")
def classes():
    """Three classes in six numbers."""
    draw = stream(5, "check")
    x = draw.standard_normal((180, 6))
    y = (x @ draw.standard_normal((6, 3))).argmax(axis=1)
    return Dataset(x[:120], y[:120], x[120:], y[120:], 3, "drawn", scale="columns")


@pytest.fixture(scope="session")
def numbers():
    """A regression of two targets."""
    draw = stream(6, "check")
    x = draw.standard_normal((90, 4))
    return Dataset(x[:60], np.tanh(x[:60, :2]), x[60:], np.tanh(x[60:, :2]), None, "drawn")
