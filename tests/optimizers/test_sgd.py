"""SGD from settings takes the steps of the formula."""

import numpy as np
import pytest

from minilte.core import optim
from minilte.core.errors import BadInput
from minilte.core.random import stream
from minilte.optimizers.sgd import SGD


def steps(optimizer, count=5):
    p = stream(0, "check").standard_normal((3, 4))
    state = optimizer.init(p)
    for step in range(count):
        p, state = optimizer.update(p, stream(step, "check", 1).standard_normal((3, 4)), state, 0.1)
    return p


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, optim.sgd()),
        (dict(momentum=0.9), optim.sgd(0.9)),
        (dict(momentum=0.9, nesterov=True, weight_decay=0.2), optim.sgd(0.9, True, 0.2)),
    ],
)
def test_it_is_that_of_its_settings(settings, expected):
    assert np.array_equal(steps(SGD(**settings).build(None)), steps(expected))


def test_nesterov_needs_a_momentum():
    with pytest.raises(BadInput, match="nesterov: expected a --momentum above 0"):
        SGD(nesterov=True)
